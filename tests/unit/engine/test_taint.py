"""What is foreign in a workflow, what it may not choose, and who is asked before it is acted upon."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from celeriac import Context, Effect, Json, node
from celeriac.contract import TRUSTED
from engine.checking import problems
from engine.cutting import build
from engine.definition import Workflow
from engine.registry import Registry
from engine.settings import Settings
from engine.taint import of_workflow, trusted_fields
from nodes import NODE_TYPES
from nodes.integrations.http_request import http_request
from tests.builders import document, edges
from tests.builders import node as vertex
from tests.people import asked, decide
from tests.theatre import REGISTRY as STAGED
from tests.theatre import STAGE, Stage, Theatre, theatre


class Words(BaseModel, extra="forbid"):
    """What a node is handed."""

    text: Any = None
    to: str = Field("", json_schema_extra={TRUSTED: True})


@node("says", effect=Effect.READ, foreign=True)
async def says(config: Words, ctx: Context) -> Json:
    """Say what somebody else has written."""
    found: Json = STAGE.play(ctx, config)  # type: ignore[arg-type]
    return found


@node("sends", effect=Effect.ONCE)
async def sends(config: Words, ctx: Context) -> Json:
    """Send something somewhere."""
    found: Json = STAGE.play(ctx, config)  # type: ignore[arg-type]
    return found


@functools.cache
def registry() -> Registry:
    names = {"says", "sends", "noop"}
    builtin = [each for each in NODE_TYPES if each.name not in names]
    return Registry([says, sends, *STAGED.everything(), *builtin])


SAYS = vertex("a", "says")


def foreign(*nodes: dict[str, Any], **more: Any) -> set[str]:
    """The foreign nodes of a workflow."""
    return of_workflow(Workflow.parse(document(list(nodes), **more)), registry()).ids


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([vertex("b", "transform", {"expression": "1 + 1"})], set()),
        ([SAYS], {"a"}),
        ([SAYS, vertex("b", "transform", {"expression": "nodes.a.output.text"})], {"a", "b"}),
        ([SAYS, vertex("b", "transform", {"expression": "nodes.a.error.message"})], {"a", "b"}),
        ([SAYS, vertex("b", "set", {"values": {"x": ["{{ nodes.a.output }}"]}})], {"a", "b"}),
        (
            [
                SAYS,
                vertex("b", "transform", {"expression": "nodes.a.output"}),
                vertex("c", "transform", {"expression": "nodes.b.output"}),
            ],
            {"a", "b", "c"},
        ),
        ([SAYS, vertex("b", "transform", {"expression": "nodes[trigger.payload.x].output"})], {"a", "b"}),
        (
            [SAYS, vertex("b", "http_request", {"url": "https://x.test/", "body": "{{ nodes.a.output }}"})],
            {"a"},
        ),
        ([SAYS, vertex("b", "approval", {"title": "?", "show": "{{ nodes.a.output }}"})], {"a"}),
        ([SAYS, vertex("b", "workflow", {"workflow": "w", "input": "{{ nodes.a.output }}"})], {"a", "b"}),
        ([SAYS, vertex("b", "workflow", {"workflow": "w", "input": "{{ trigger.payload }}"})], {"a"}),
        (
            [
                {
                    "id": "s",
                    "type": "scope",
                    "body": {"nodes": [SAYS]},
                },
                vertex("b", "transform", {"expression": "nodes.s.output"}),
            ],
            {"a", "s", "b"},
        ),
        (
            [
                SAYS,
                {
                    **vertex("b", "transform", {"expression": "item"}),
                    "for_each": {"items": "nodes.a.output"},
                },
            ],
            {"a", "b"},
        ),
        (
            [
                SAYS,
                {
                    "id": "s",
                    "type": "scope",
                    "for_each": {"items": "nodes.a.output", "as": "line"},
                    "body": {
                        "nodes": [
                            vertex("b", "transform", {"expression": "line.x"}),
                            vertex("c", "transform", {"expression": "index"}),
                        ]
                    },
                },
            ],
            {"a", "b", "s"},
        ),
        (
            [
                {
                    **vertex("b", "transform", {"expression": "item"}),
                    "for_each": {"items": "trigger.payload"},
                },
                SAYS,
            ],
            {"a"},
        ),
    ],
)
def test_what_a_model_says_is_foreign_and_so_is_what_is_computed_of_it(
    nodes: list[dict[str, Any]], expected: set[str]
) -> None:
    assert foreign(*nodes) == expected


def test_of_the_built_in_node_types_these_bring_in_something_foreign() -> None:
    assert {each.name for each in NODE_TYPES if each.foreign} == {
        "ai_agent",
        "ai_call",
        "ai_extract",
        "ai_playbook",
        "ai_search",
        "playbook_run",
    }
    assert trusted_fields(http_request) == {"url": "host", "connection": True}


# What it may not choose


def codes(*nodes: dict[str, Any]) -> list[tuple[str, str]]:
    body = document(list(nodes), edges("->".join(each["id"] for each in nodes)) if len(nodes) > 1 else [])
    return [(each.code, each.pointer) for each in problems.check(body, registry())]


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("https://api.test/{{ nodes.a.output.x }}", False),
        ("https://api.test/x?q={{ nodes.a.output.x }}", False),
        ("https://api.test?q={{ nodes.a.output.x }}", False),
        ("{{ trigger.payload.base }}/x/{{ nodes.a.output.x }}", False),
        ("https://{{ trigger.payload.host }}/{{ nodes.a.output.x }}", False),
        ("{{ nodes.a.output.x }}", True),
        ("{{ nodes.a.output.x }}/path", True),
        ("https://{{ nodes.a.output.x }}", True),
        ("https://{{ nodes.a.output.x }}.api.test/", True),
        ("{{ trigger.payload.scheme }}://{{ nodes.a.output.x }}/", True),
        ("//{{ nodes.a.output.x }}/", True),
        ("https://api.test{{ nodes.a.output.x }}", True),
        ("https://api.test:{{ nodes.a.output.x }}/", True),
        ("https://{{ nodes.a.output.x }}@api.test/", True),
        ("https://user{{ trigger.payload.x }}@{{ nodes.a.output.x }}/", True),
        ("{% if true %}https://api.test/{{ nodes.a.output.x }}{% endif %}", True),
        ("https://api.test\\{{ nodes.a.output.x }}/", True),
        ("https://api.test/\n{{ nodes.a.output.x }}", False),
        ("https://{{ trigger.payload.host }}/", False),
    ],
)
def test_nothing_foreign_chooses_a_host(url: str, refused: bool) -> None:
    found = codes(SAYS, vertex("b", "http_request", {"url": url}))
    assert ("taint.field", "/definition/nodes/1/config/url") in found or not refused
    assert ("taint.field" in [code for code, _ in found]) == refused


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({"url": "https://x.test/", "connection": "{{ nodes.a.output }}"}, "connection"),
        ({"url": "https://x.test/", "body": "{{ nodes.a.output }}"}, None),
        ({"url": "https://x.test/", "headers": {"x": "{{ nodes.a.output }}"}}, None),
    ],
)
def test_nothing_foreign_chooses_a_connection(config: dict[str, Any], pointer: str | None) -> None:
    expected = [("taint.field", f"/definition/nodes/1/config/{pointer}")] if pointer else []
    assert codes(SAYS, vertex("b", "http_request", config)) == expected


def test_nothing_foreign_chooses_a_workflow_a_model_or_a_tool() -> None:
    call = vertex("b", "workflow", {"workflow": "{{ nodes.a.output }}"})
    assert ("taint.field", "/definition/nodes/1/config/workflow") in codes(SAYS, call)
    ask = vertex("b", "ai_call", {"model": "{{ nodes.a.output }}", "prompt": "x"})
    assert codes(SAYS, ask) == [("taint.field", "/definition/nodes/1/config/model")]
    tool = {"name": "x", "description": "{{ nodes.a.output }}", "workflow": "w"}
    agent = vertex("b", "ai_agent", {"model": "gpt-4", "task": "{{ nodes.a.output }}", "tools": [tool]})
    assert codes(SAYS, agent) == [("taint.field", "/definition/nodes/1/config/tools/0/description")]


def test_what_undoes_a_node_is_looked_at_as_well() -> None:
    undo = {"type": "http_request", "config": {"url": "{{ nodes.a.output }}", "method": "DELETE"}}
    scope = {
        "id": "s",
        "type": "scope",
        "body": {
            "nodes": [SAYS, {**vertex("b", "http_request", {"url": "https://x.test/"}), "compensate": undo}],
            "edges": edges("a->b"),
        },
    }
    assert [code for code, _ in codes(scope)] == ["taint.field"]


def test_the_words_are_for_the_author() -> None:
    body = document([SAYS, vertex("b", "http_request", {"url": "{{ nodes.a.output.x }}"})], edges("a->b"))
    (found,) = problems.check(body, registry())
    assert "`nodes.a.output.x` is what a model says" in found.message
    assert "host that is fixed" in (found.hint or "")


# Whom it asks


def plan_of(*nodes: dict[str, Any]) -> dict[str, bool]:
    plan = build(Workflow.parse(document(list(nodes))), registry())
    return {name: each.foreign for name, each in plan.nodes.items() if name in ("a", "b", "b@item")}


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (vertex("b", "sends", {"text": "{{ nodes.a.output }}"}), True),
        (vertex("b", "sends", {"text": "hi"}), False),
        (vertex("b", "keyed", {"text": "{{ nodes.a.output }}"}), False),
        ({**vertex("b", "keyed", {"text": "{{ nodes.a.output }}"}), "effect": "once"}, True),
    ],
)
def test_what_cannot_be_repeated_and_reads_something_foreign_is_marked(
    second: dict[str, Any], expected: bool
) -> None:
    assert plan_of(SAYS, second) == {"a": False, "b": expected}


def test_items_of_a_foreign_list_are_foreign(tmp_path: Path) -> None:
    second = {**vertex("b", "sends", {"text": "{{ item }}"}), "for_each": {"items": "nodes.a.output"}}
    assert plan_of(SAYS, second) == {"a": False, "b": False, "b@item": True}


@pytest.fixture
async def at(tmp_path: Path, stage: Stage) -> Any:
    made = theatre(tmp_path)
    made.registry = made.programs._registry = registry()
    stage.tell("a", "spam")
    yield made
    assert made.leases.held() == []
    made.close()


def sending(**more: Any) -> dict[str, Any]:
    return document(
        [SAYS, vertex("p", "pure"), {**vertex("b", "sends", {"text": "{{ nodes.a.output }}"}), **more}],
        edges("a->p->b"),
        outputs="{{ nodes.b.output }}",
    )


async def test_people_are_asked_first_and_see_what_would_be_done(at: Theatre, stage: Stage) -> None:
    stage.tell("b", "sent")
    name = await at.run(sending())
    assert at.status(name) == "waiting"
    assert asked(at)[1] == "May b do this with what a model has said?"
    ((body,),) = at.query("SELECT body FROM approval")
    assert '"text":"spam"' in body.replace(" ", "")
    assert "b" not in stage.calls
    decide(at, "approved")
    await at.tick(1)
    assert (at.status(name), at.output(name)) == ("succeeded", "sent")
    assert stage.calls.count("b") == stage.calls.count("p") == 1


async def test_what_people_reject_is_not_done(at: Theatre, stage: Stage) -> None:
    name = await at.run(sending())
    decide(at, "rejected")
    await at.tick(1)
    assert (at.status(name), at.error(name)["code"]) == ("failed", "taint.rejected")
    assert "b" not in stage.calls


@pytest.mark.parametrize(
    ("rule", "default", "status", "code"),
    [
        ("allow", "ask", "succeeded", None),
        ("fail", "ask", "failed", "taint.refused"),
        (None, "allow", "succeeded", None),
        (None, "fail", "failed", "taint.refused"),
        ("ask", "allow", "waiting", None),
    ],
)
async def test_the_author_and_the_deployment_may_say_otherwise(
    tmp_path: Path, at: Theatre, rule: str | None, default: str, status: str, code: str | None
) -> None:
    settings = at.settings
    at.settings = Settings(
        settings.database_url, "memory://", settings.data, on_foreign=default, limits=settings.limits
    )
    name = await at.run(sending(**({"on_foreign": rule} if rule else {})))
    error = at.error(name)
    assert (at.status(name), error and error["code"]) == (status, code)


async def test_the_answer_is_kept_over_retries(at: Theatre, stage: Stage) -> None:
    from celeriac import TryAgain

    stage.tell("b", TryAgain("x.busy", "Busy."), "sent")
    name = await at.run(sending(retry={"max_attempts": 2, "delay": 1, "jitter": 0}))
    decide(at, "approved")
    await at.tick(5)
    await at.tick(5)
    assert at.output(name) == "sent"
    assert at.query("SELECT count(*) FROM approval") == [(1,)]
