"""Two independent validators read the published schema alike: what one accepts, the other does too."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import schema
from engine.registry import Registry
from tests.mistakes import Definition, definitions

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    path
    for path in sorted((ROOT / "examples").glob("*.json"))
    if "definition" in json.loads(path.read_text(encoding="utf-8")) and path.stat().st_size < 50_000
]
REGISTRY = Registry.load(["nodes"])
SECOND = jsonschema.Draft202012Validator(schema.document(REGISTRY), registry=referencing.Registry())


def spoiled(document: Any, rng: random.Random) -> Any:
    """Return a copy with one value somewhere replaced or removed."""
    made = copy.deepcopy(document)
    here = made
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = rng.choice(keys)
        deeper = isinstance(here[key], (dict, list)) and here[key]
        if deeper and rng.random() < 0.8:
            here = here[key]
        elif rng.random() < 0.3:
            del here[key]
            return made
        else:
            here[key] = rng.choice([None, 7, -1.5, True, "text", "{{ a.b }}", [], {}, ["x"], {"x": 1}])
            return made


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_both_validators_agree_on_examples_and_on_spoiled_ones(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    first = schema.validator(REGISTRY)
    rng = random.Random(path.stem)
    for each in [document, *(spoiled(document, rng) for _ in range(40))]:
        assert SECOND.is_valid(each) == first.is_valid(each), each


@settings(max_examples=60, deadline=None)
@given(document=definitions(), seed=st.integers(0, 2**32))
def test_both_validators_agree_on_drawn_definitions_and_on_spoiled_ones(
    document: Definition, seed: int
) -> None:
    rng = random.Random(seed)
    first = schema.validator(REGISTRY)
    assert first.is_valid(document)
    for each in [document, *(spoiled(document, rng) for _ in range(4))]:
        assert SECOND.is_valid(each) == first.is_valid(each), each
