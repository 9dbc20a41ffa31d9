"""What of a drafted playbook is run: what the author allows, and people have agreed to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import Context, Effect, Fail, Json, node
from celeriac.testing import Outcome, run_node
from nodes.ai.ai_playbook import STEPS
from nodes.ai.playbook_run import playbook_run


class Sent(BaseModel, extra="forbid"):
    """Where something goes, and what."""

    connection: str = "c"
    text: str = ""
    level: Any = None


@node("look", effect=Effect.READ)
async def look(_config: Sent, _ctx: Context) -> Json:
    """Look."""


@node("send", effect=Effect.ONCE)
async def send(_config: Sent, _ctx: Context) -> Json:
    """Send."""


TYPES = {"look": look, "send": send}
ACTIONS: list[dict[str, Json]] = [
    {"type": "look"},
    {"type": "send", "fixed": {"connection": "alarms", "level": 1}},
]
LOOK: dict[str, Json] = {"order": 1, "action": "look", "params": {"text": "a"}, "approval": False}
SEND: dict[str, Json] = {
    "order": 2,
    "action": "send",
    "params": {"connection": "alarms", "level": 1, "text": "b"},
    "approval": True,
}


def playbook(*steps: Any) -> dict[str, Json]:
    return {"name": "Drafted", "definition": {"steps": list(steps)}}


async def run(whole: Json, *, actions: Sequence[Json] = ACTIONS) -> Outcome:
    config: dict[str, Json] = {"playbook": whole, "actions": list(actions), "input": {"ip": "203.0.113.9"}}
    done: Json = {"done": True}
    return await run_node(playbook_run, config, types=TYPES, agreed=[whole], answers={"run": done})


async def test_what_is_allowed_and_agreed_to_is_run() -> None:
    outcome = await run(playbook(LOOK, SEND))
    assert outcome.value == {"result": {"done": True}}, outcome.error
    assert outcome.steps == {"agreed": True}


@pytest.mark.parametrize("agreed_to", [[], [playbook(LOOK)], [playbook(SEND, LOOK)], ["Drafted"]])
async def test_what_nobody_has_agreed_to_as_it_is_is_not_run(agreed_to: list[Json]) -> None:
    config: dict[str, Json] = {"playbook": playbook(LOOK, SEND), "actions": list(ACTIONS)}
    outcome = await run_node(playbook_run, config, types=TYPES, agreed=agreed_to, answers={"run": None})
    assert (outcome.kind, outcome.code) == ("failed", "playbook.not_approved")
    assert outcome.error is not None
    assert outcome.error.details == {"node": "node"}


async def test_what_the_playbook_fails_with_fails_the_node() -> None:
    config: dict[str, Json] = {"playbook": playbook(LOOK), "actions": list(ACTIONS)}
    failed = Fail("workflow.failed_child", "It failed.")
    outcome = await run_node(
        playbook_run, config, types=TYPES, agreed=[playbook(LOOK)], answers={"run": failed}
    )
    assert outcome.code == "workflow.failed_child"


ONE = "/definition/steps/0"


@pytest.mark.parametrize(
    ("whole", "place", "words"),
    [
        (None, "", "no document"),
        ("text", "", "no document"),
        ({"name": "x"}, "", "no document"),
        ({**playbook(LOOK), "triggers": []}, "", "nothing else"),
        ({"name": "x", "definition": {"nodes": []}}, "/definition", "steps alone"),
        ({"name": "x", "definition": {"steps": [LOOK], "budget": {}}}, "/definition", "steps alone"),
        ({"name": "x", "definition": {"steps": [LOOK], "inputs": {}}}, "/definition", "steps alone"),
        (playbook(), "/definition", "1 to"),
        (playbook(*[LOOK] * (STEPS + 1)), "/definition", "1 to"),
        (playbook("x"), ONE, "nothing else"),
        (playbook({**LOOK, "retry": {}}), ONE, "nothing else"),
        (playbook({**LOOK, "type": "send"}), ONE, "nothing else"),
        (playbook({**LOOK, "params": "{{ x }}"}), "", "braces"),
        (playbook({**LOOK, "params": ["x"]}), ONE, "nothing else"),
        (playbook({**LOOK, "params": {"text": "{{ vars.secret }}"}}), "", "braces"),
        (playbook({**LOOK, "params": {"text": {"deep": ["{% if x %}"]}}}), "", "braces"),
        (playbook({**LOOK, "params": {"{# x": 1}}), "", "braces"),
        (playbook({**LOOK, "id": "{{ x }}"}), "", "braces"),
        ({**playbook(LOOK), "name": "{{ x }}"}, "", "braces"),
        (playbook({**LOOK, "action": "format_disk"}), ONE, "no action allows 'format_disk'"),
        (playbook({**LOOK, "action": "look@1"}), ONE, "no action allows"),
        (playbook({**LOOK, "action": None}), ONE, "no action allows"),
        (
            playbook(LOOK, {**LOOK, "params": {"connection": "admin"}}),
            "/definition/steps/1",
            "'connection' chooses",
        ),
        (playbook({**SEND, "params": {"level": 1, "text": "b"}}), ONE, "no action allows"),
        (playbook({**SEND, "params": {"connection": "admin", "level": 1}}), ONE, "no action allows"),
        (playbook({**SEND, "params": {"connection": "alarms", "level": True}}), ONE, "no action allows"),
        (playbook({**SEND, "params": {"connection": "alarms", "level": 1.5}}), ONE, "no action allows"),
        (playbook({**SEND, "approval": False}), ONE, "asks nobody"),
        (playbook({each: SEND[each] for each in ("action", "params")}), ONE, "asks nobody"),
        (playbook({**SEND, "approval": {"timeout": "1s", "on_timeout": "approve"}}), ONE, "asks nobody"),
    ],
)
async def test_what_the_author_does_not_allow_is_not_run_whoever_agrees(
    whole: Json, place: str, words: str
) -> None:
    outcome = await run(whole)
    assert (outcome.kind, outcome.code) == ("failed", "playbook.not_allowed")
    assert outcome.error is not None
    assert outcome.error.details == {"pointer": place}
    assert words in outcome.error.message
    assert outcome.steps == {}


@pytest.mark.parametrize(
    ("actions", "step", "runs"),
    [
        ([{"type": "look", "approval": True}], LOOK, False),
        ([{"type": "look", "approval": True}], {**LOOK, "approval": True}, True),
        ([{**ACTIONS[1], "approval": False}], {**SEND, "approval": False}, True),
        # Of several actions of one type, one has to allow all of it.
        ([{"type": "send", "fixed": {"connection": "other"}}, ACTIONS[1]], SEND, True),
        ([{"type": "send"}, {"type": "send", "fixed": {"level": 1}}], SEND, False),
    ],
)
async def test_each_step_needs_an_action_that_allows_all_of_it(
    actions: list[Json], step: dict[str, Json], runs: bool
) -> None:
    outcome = await run(playbook(step), actions=actions)
    assert outcome.code == (None if runs else "playbook.not_allowed")


async def test_a_type_that_is_not_installed_is_told() -> None:
    outcome = await run(playbook({**LOOK, "action": "gone"}), actions=[{"type": "gone"}])
    assert outcome.code == "node.unknown_type"
