"""What a child answers, and what its parent makes of it: outcomes go through one pipe and come out the same."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import (
    Call,
    Context,
    Emit,
    Exit,
    Fail,
    Json,
    OnCallback,
    OnDecision,
    OnEvent,
    Respond,
    Route,
    TryAgain,
    Uncertain,
    Wait,
    node,
)
from engine.errors import NotFound
from engine.failure import error_of, knows_outcome
from engine.registry import Registry
from worker.child import _beat, _encoded, _serve
from worker.children import NodeCrashed, _read, _result

ACTS: list[Any] = []


class Config(BaseModel):
    """Nothing."""


@node("acts")
def acts(_config: Config, ctx: Context) -> Any:
    """Return or raise what the test says."""
    ctx.log("began")
    if isinstance(ACTS[0], Exception):
        raise ACTS[0]
    return ACTS[0]


@node("acts_slowly")
async def acts_slowly(config: Config, ctx: Context) -> Any:
    """The same, as a coroutine."""
    return acts.run(config, ctx)


REGISTRY = Registry([acts, acts_slowly])
CONTEXT: dict[str, Json] = {
    "execution_id": "exec_1",
    "node_id": "a",
    "item": "",
    "attempt": 1,
    "ready_at": 0,
    "project": "proj",
    "log_limit": 10,
}


def answer(act: Any, node_type: str = "acts", config: Any = None) -> dict[str, Any]:
    """What the parent reads when a node did so."""
    ACTS[:] = [act]
    request = {"type": node_type, "config": config or {}, "context": CONTEXT}
    return _read(_encoded(_serve(REGISTRY, request, lambda _: None)))


LISTENING = Wait(
    None, None, (OnEvent("a"), OnCallback()), then=Wait(5, 1, (OnDecision("t", users=("u",)),), "p")
)


def raised(act: Any) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  which one is what the tests are about
        _result(answer(act))
    return caught.value


@pytest.mark.parametrize("node_type", ["acts", "acts_slowly"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1]},
        Route(("b",), 7),
        Wait(1_900_000_000_000, "x"),
        LISTENING,
        Emit("a", "b", [1]),
        Exit("loop", 1),
        Respond([1], 201, {"Location": "/1"}),
        Call("w", [1], 2),
    ],
)
def test_what_a_node_returns_comes_out_the_same(node_type: str, value: Any) -> None:
    reply = answer(value, node_type)
    assert _result(reply) == value
    assert reply["lines"] == [["info", "began", {}]]


@pytest.mark.parametrize(
    "error",
    [
        Fail("x.no", "No.", {"why": 1}),
        TryAgain("x.busy", "Busy.", 2.5, {"why": 1}),
        Uncertain("x.lost", "Who knows.", {"why": 1}),
    ],
)
def test_what_a_node_foresaw_comes_out_the_same(error: Exception) -> None:
    found = raised(error)
    assert type(found) is type(error)
    assert error_of(found) == error_of(error)
    assert knows_outcome(found) is knows_outcome(error)


def test_what_a_node_did_not_foresee_leaves_an_effect_in_doubt_and_keeps_its_kinds() -> None:
    error = ConnectionResetError("sent, and then the line was cut")
    found = raised(error)
    assert isinstance(found, NodeCrashed)
    assert not knows_outcome(found)
    assert found.error == error_of(error)
    assert found.error.kinds == ("ConnectionResetError", "ConnectionError", "OSError")


def test_an_error_of_the_engine_is_a_known_failure() -> None:
    found = raised(NotFound("It is not there."))
    assert isinstance(found, Fail)
    assert (found.code, found.message) == ("request.not_found", "It is not there.")


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize("value", [deep(100_000), float("nan"), object(), {"x": {1, 2}}])
def test_a_return_that_is_no_json_is_the_nodes_failure(value: Any) -> None:
    found = raised(value)
    assert isinstance(found, Fail)
    assert found.code == "node.output_invalid"


def test_a_reply_that_the_parent_cannot_read_is_the_nodes_failure() -> None:
    with pytest.raises(Fail, match="too deep") as caught:
        _read(b"[" * 100_000 + b"]" * 100_000)
    assert caught.value.code == "node.output_invalid"


def test_what_is_no_json_beside_a_failure_does_not_change_what_it_was() -> None:
    found = raised(Uncertain("x.lost", "Who knows.", {"at": object()}))  # type: ignore[dict-item]
    assert isinstance(found, Uncertain)
    assert found.code == "x.lost"
    again = raised(TryAgain("x.busy", "Busy.", float("inf"), {"why": 1}))
    assert isinstance(again, TryAgain)
    assert (again.code, again.after) == ("x.busy", None)


@node("beats")
async def beats(_config: Config, ctx: Context) -> Json:
    """Tell what the test says."""
    await ctx.heartbeat(ACTS[0])
    return ctx.last_heartbeat


def test_a_heartbeat_is_told_in_between_and_its_details_have_to_be_json() -> None:
    stream = io.BytesIO()
    request = {"type": "beats", "config": {}, "context": {**CONTEXT, "last_heartbeat": 6}}
    ACTS[:] = [7]
    assert _serve(Registry([beats]), request, partial(_beat, stream))["value"] == 6
    assert stream.getvalue() == b'\x00\x00\x00\x0b{"beat": 7}'
    ACTS[:] = [float("nan")]
    failed = _serve(Registry([beats]), request, partial(_beat, stream))["error"]
    assert (failed["code"], failed["kind"]) == ("node.output_invalid", "fail")
