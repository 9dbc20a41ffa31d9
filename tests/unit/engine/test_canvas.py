"""The shapes a plan compiles to. What holds for every plan is tested in tests/property/test_canvas.py."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from celery import Celery
from celery.canvas import Signature

from engine import canvas
from engine.canvas import TASK, join, segment
from engine.cutting import build
from engine.definition import Workflow
from engine.plan import Plan
from tests.builders import document, edge, edges, node
from tests.workbench import built_in


def planned(names: str, *ways: str, more: list[dict[str, Any]] | None = None) -> Plan:
    body = document([node(each) for each in names], [*edges(*ways), *(more or [])])
    return build(Workflow.parse(body), built_in())


DIAMOND = planned("abcd", "a->b->d", "a->c->d")
UNEVEN = planned("abcde", "a->b->c->e", "a->d->e", more=[edge("a", "e")])


def shape(made: Any) -> Any:
    """A canvas as nested lists: `[nodes]` of a segment, `see N` of a mention, and the kinds of what is composed."""
    if made is None:
        return None
    kind = made.get("subtask_type") or type(made).__name__
    if kind == "celeriac.segment":
        show = made["show"]
        return f"see {show['see']}" if "see" in show else " ".join(show["nodes"])
    if kind == "celeriac.join":
        return ["join", [shape(each) for each in made.tasks], shape(made.body)]
    return [kind, *(shape(each) for each in made.tasks)]


def test_a_single_segment_is_its_own_canvas() -> None:
    made = canvas.compile(planned("ab", "a->b"), execution="exec_1")
    assert made is not None
    assert shape(made) == "trigger a b @output"
    assert made.task == TASK
    assert made.args == ([["exec_1", 0, ""]],)
    assert made.options == {"queue": "default"}


def test_branches_that_meet_at_once_are_a_join() -> None:
    assert shape(canvas.compile(DIAMOND)) == ["chain", "trigger a", ["join", ["b", "c"], "d @output"]]


def test_branches_that_meet_at_different_depths_are_a_group_that_names_the_meeting_twice() -> None:
    assert shape(canvas.compile(UNEVEN)) == [
        "chain",
        "trigger a",
        ["group", ["chain", "b c", "e @output"], ["chain", "d", "see 3"], "see 3"],
    ]


def test_a_chain_of_queues_is_a_chain() -> None:
    plan = build(
        Workflow.parse(
            document([node("a", queue="x"), node("b", queue="y"), node("c", queue="x")], edges("a->b->c"))
        ),
        built_in(),
    )
    assert shape(canvas.compile(plan)) == ["chain", "trigger a", "b", "c @output"]


def test_what_remains_begins_at_what_the_taken_edges_lead_to() -> None:
    assert shape(canvas.compile(DIAMOND, {0: (True, True)})) == [
        "group",
        ["chain", "b", "d @output"],
        [
            "chain",
            "c",
            "see 3",
        ],
    ]
    assert shape(canvas.compile(DIAMOND, {0: (True, True), 1: (True,)})) == ["chain", "c", "d @output"]
    assert shape(canvas.compile(DIAMOND, {0: (True, True), 1: (True,), 2: (True,)})) == "d @output"


def test_nothing_remains_of_what_has_ended() -> None:
    assert canvas.compile(DIAMOND, {0: (True, True), 1: (True,), 2: (True,), 3: ()}) is None


def test_a_branch_that_was_not_taken_does_not_come_back() -> None:
    plan = planned("abc", more=[edge("a", "b", when="trigger"), edge("a", "c", when="trigger")])
    assert shape(canvas.compile(plan, {0: (True, False)})) == ["chain", "b", "@output"]


@pytest.mark.parametrize("plan", [DIAMOND, UNEVEN])
def test_a_canvas_read_back_from_json_is_the_same(plan: Plan) -> None:
    made = canvas.compile(plan, execution="exec_1")
    read = Signature.from_dict(json.loads(json.dumps(made)))
    assert shape(read) == shape(made)
    assert json.loads(json.dumps(read)) == json.loads(json.dumps(made))


def test_a_copy_of_a_segment_still_shows_its_nodes() -> None:
    made = segment.of([("exec_1", 0, "")], "default", nodes=["a"])
    assert made.clone()["show"] == {"nodes": ["a"]}
    assert made.clone().args == made.args
    assert "show" not in segment.of([], "default").clone()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What signatures hand to Celery."""
    found: list[tuple[Any, ...]] = []

    def apply_async(self: Any, args: Any = None, kwargs: Any = None, **options: Any) -> str:
        found.append((self.args, args, options))
        return "sent"

    monkeypatch.setattr(Signature, "apply_async", apply_async)
    return found


def test_a_segment_is_sent_without_what_celery_would_chain_behind_it(sent: list[tuple[Any, ...]]) -> None:
    segment.of([("exec_1", 0, "")], "default").apply_async(chain=["next"], queue="x")
    ((_, _, options),) = sent
    assert options == {"queue": "x", "chain": None}


def test_a_join_sends_what_comes_before_it_and_not_its_body(sent: list[tuple[Any, ...]]) -> None:
    header = [segment.of([("exec_1", each, "")], "default") for each in (1, 2)]
    made = join.of(header, segment.of([("exec_1", 3, "")], "default"))
    assert made.apply_async(queue="x") == ["sent", "sent"]
    assert [args for args, _, _ in sent] == [([["exec_1", 1, ""]],), ([["exec_1", 2, ""]],)]


def test_a_canvas_can_be_sent_by_an_application_of_celery() -> None:
    app = Celery("here", broker_url="memory://", set_as_current=False)
    app.set_default()
    made = segment.of([("exec_1", 0, "")], "canvas_sent")
    cast("Any", made).set(app=app).apply_async(chain=["x"])
    with app.connection_for_read() as connection:
        message = cast("Any", connection.default_channel).basic_get("canvas_sent", no_ack=True)
    assert message is not None
    assert message.decode()[0] == [[["exec_1", 0, ""]]]


def regional(*nodes: dict[str, Any], ways: str = "") -> Plan:
    return build(Workflow.parse(document(list(nodes), edges(ways) if ways else [])), built_in())


BODY = {"nodes": [node("b"), node("c")], "edges": edges("b->c")}
MAP: dict[str, Any] = {"id": "m", "type": "scope", "for_each": {"items": "xs"}, "body": BODY}


def test_what_a_container_performs_stands_behind_it() -> None:
    made = canvas.compile(regional(node("a"), MAP, node("z"), ways="a->m->z"), execution="exec_1")
    assert shape(made) == ["chain", "trigger a m", "m@begin b c m@end", "z @output"]
    first, inside, _ = cast("Any", made).tasks
    assert (inside["show"]["region"], inside.args) == ("m", ([["exec_1", 2, "0"]],))
    assert "region" not in first["show"]


def test_what_follows_the_failure_of_a_scope_stands_behind_it_too() -> None:
    last = {"nodes": [node("f")], "edges": []}
    scope = {
        "id": "s",
        "type": "scope",
        "body": BODY,
        "catch": [{"body": {"nodes": [node("r")], "edges": []}}],
    }
    assert shape(canvas.compile(regional({**scope, "finally": last}))) == [
        "chain",
        "trigger s",
        "s@begin b c s@end",
        "s@catch0@begin r s@catch0@end",
        "s@finally@begin f s@finally@end",
        "@output",
    ]


def test_a_container_may_stand_before_a_join() -> None:
    plan = build(
        Workflow.parse(document([node("a"), MAP, node("x"), node("z")], edges("a->m->z", "a->x->z"))),
        built_in(),
    )
    assert shape(canvas.compile(plan)) == [
        "chain",
        "trigger a",
        ["join", [["chain", "m", "m@begin b c m@end"], "x"], "z @output"],
    ]
