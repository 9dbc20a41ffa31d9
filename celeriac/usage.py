"""What a call of a model used: the measure of its price."""

from __future__ import annotations

from dataclasses import dataclass

from celeriac.outcomes import Json


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `cached` of the input tokens were read from a cache of the provider's, which is cheaper."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Return both together."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached + other.cached,
        )

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.input_tokens + self.output_tokens

    def to_json(self) -> dict[str, Json]:
        """Return the form that is shown."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached,
        }


@dataclass(frozen=True, slots=True)
class Model:
    """What a deployment says of a model: its provider, what that calls it, and the connection that leads there.

    Without a provider, nothing is known but its name.
    """

    id: str
    provider: str | None
    model: str
    connection: str | None = None
