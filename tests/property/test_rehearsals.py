"""Whatever definition is drawn: it can be rehearsed, a rehearsal repeats itself, and a dry run comes to an end."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import Json
from engine.definition import Workflow
from engine.registry import Registry
from engine.rehearsal.coverage import coverage
from engine.rehearsal.dry import dry_run
from engine.rehearsal.mocks import Mocks
from engine.rehearsal.stage import REFUSED, Stage
from tests.mistakes import Definition, definitions

REGISTRY = Registry.load(["nodes"])
ENDS = {"succeeded", "failed", "timed_out", "waiting", REFUSED}
PAYLOAD: dict[str, Json] = {
    "order": {"total": 12, "id": "A-1", "lines": [{"price": 1}, {"price": 2}], "gift": None}
}
MOCKS: list[dict[str, Any]] = [
    {"*": {"output": {"status": 200, "body": {"total": 1}}}},
    {"*": {"error": {"code": "http.timeout"}, "takes": "2s"}},
    {"*": [{"error": {"code": "http.timeout"}}, {"output": {"status": 200}, "takes": "1h"}]},
]


@settings(max_examples=60, deadline=None)
@given(document=definitions(), mocks=st.sampled_from(MOCKS))
def test_every_definition_can_be_rehearsed_and_comes_to_the_same_again(
    document: Definition, mocks: dict[str, Any]
) -> None:
    with Stage(document, REGISTRY) as stage:
        first, second = (stage.perform(PAYLOAD, Mocks.parse(mocks)) for _ in range(2))
        reached = coverage(Workflow.parse(document), stage.plan, [first])
    assert first.status in ENDS, first
    assert first.part.unmocked == {}
    assert (first.status, first.output, first.path, first.passed) == (
        second.status,
        second.output,
        second.path,
        second.passed,
    )
    assert set(first.path) <= reached.nodes.keys()
    assert 0 <= reached.percent <= 100


@settings(max_examples=60, deadline=None)
@given(document=definitions())
def test_every_dry_run_comes_to_an_end_and_has_no_effect(document: Definition) -> None:
    body = dry_run(document, PAYLOAD, Mocks({}), REGISTRY).to_json()
    assert body["status"] in {*ENDS, "stopped"}
    assert "@gap" not in str(body)
