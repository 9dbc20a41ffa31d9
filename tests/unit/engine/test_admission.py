from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.admission import Accepted, InputInvalid, KeyReused, Request, accept, accept_all, operation
from engine.catalog import Active
from engine.settings import Limits
from tests.builders import document, node
from tests.workbench import NOW, Workbench

PLAIN = document([node("a")], name="plain")
PICKY = document(
    [node("a")],
    name="picky",
    inputs={
        "type": "object",
        "properties": {"n": {"type": "integer"}, "list": {"items": {"type": "string"}}},
        "required": ["n"],
    },
)


def runtime(bench: Workbench) -> Any:
    return SimpleNamespace(settings=bench.settings, clock=bench.clock, ledger=bench, dispatcher=bench.outlet)


def made(bench: Workbench, active: Active, payload: Any = None, **more: Any) -> Any:
    return operation(runtime(bench), Request(active, payload, **more))


async def test_what_is_accepted_is_written_and_then_sent(bench: Workbench) -> None:
    active = bench.push(PLAIN)
    accepted = await accept(runtime(bench), Request(active, {"k": 1}))
    assert accepted.new
    assert bench.status(accepted.execution) == "created"
    assert bench.outlet.sent == [("default", (accepted.execution, 0, ""))]


async def test_the_same_request_twice_starts_once(bench: Workbench) -> None:
    request = Request(bench.push(PLAIN), {"k": 1}, idempotency_key="key")
    first, again = await accept_all(runtime(bench), [request, request])
    assert again == Accepted(first.execution, new=False)
    assert len(bench.outlet.sent) == 1


async def test_a_key_of_another_request_is_refused_and_the_others_are_accepted(bench: Workbench) -> None:
    active = bench.push(PLAIN)
    first = await accept(runtime(bench), Request(active, 1, idempotency_key="key"))
    with pytest.raises(KeyReused) as caught:
        await accept_all(runtime(bench), [Request(active, 2, idempotency_key="key"), Request(active, 3)])
    assert caught.value.details == {"execution": first.execution}
    assert first.execution in (caught.value.hint or "")
    assert bench.query("SELECT count(*) FROM execution") == [(2,)]


async def test_a_key_of_another_workflow_is_another_request(bench: Workbench) -> None:
    await accept(runtime(bench), Request(bench.push(PLAIN), {"n": 1}, idempotency_key="key"))
    with pytest.raises(KeyReused):
        await accept(runtime(bench), Request(bench.push(PICKY), {"n": 1}, idempotency_key="key"))


def test_everything_a_request_says_is_written(bench: Workbench) -> None:
    start = made(
        bench,
        bench.push(document([node("a")], timeout=1.5)),
        {"ü": 1},
        kind="webhook",
        idempotency_key="key",
        principal="ann",
        priority=3,
        base="exec_0",
        reply_to="me",
    )
    assert (start.input.text, start.trigger) == ('{"ü":1}', '{"type": "webhook", "id": "trigger"}')
    assert (start.principal, start.priority, start.base, start.reply_to) == ("ann", 3, "exec_0", "me")
    assert (start.now, start.deadline) == (NOW, NOW + 1500)
    assert len(start.request_hash) == 64


def test_an_execution_without_a_limit_has_no_deadline(bench: Workbench) -> None:
    assert made(bench, bench.push(PLAIN)).deadline is None


def test_a_payload_that_does_not_fit_is_refused_with_every_misfit_and_its_place(bench: Workbench) -> None:
    active = bench.push(PICKY)
    with pytest.raises(InputInvalid) as caught:
        made(bench, active, {"list": ["a", 1]})
    assert caught.value.code == "input.invalid"
    found = cast("list[dict[str, str]]", caught.value.details["errors"])
    assert sorted(each["pointer"] for each in found) == ["", "/list/1"]
    assert made(bench, active, {"n": 1}).execution


def test_a_payload_that_is_too_large_or_no_json_is_refused(tmp_path: Any) -> None:
    bench = Workbench(tmp_path, limits=Limits(input_bytes=100))
    active = bench.push(PLAIN)
    assert made(bench, active, "x" * 98).input.text
    with pytest.raises(InputInvalid) as caught:
        made(bench, active, "x" * 99)
    assert "payload has 101 bytes" in caught.value.message
    with pytest.raises(InputInvalid, match="NUL"):
        made(bench, active, "\0")
    bench.close()
