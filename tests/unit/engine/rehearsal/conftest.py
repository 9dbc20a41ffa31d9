"""A stage for the definitions of tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from celeriac import Json
from engine.registry import Registry
from engine.rehearsal.mocks import Mocks
from engine.rehearsal.stage import Performance, Stage

Perform = Callable[..., Performance]
REGISTRY = Registry.load(["nodes", "tests.nodes"])


@pytest.fixture
def perform() -> Perform:
    def performed(
        document: Mapping[str, Any],
        payload: Json = None,
        mocks: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Performance:
        with Stage(document, REGISTRY) as stage:
            return stage.perform({} if payload is None else payload, Mocks.parse(mocks or {}), **more)

    return performed
