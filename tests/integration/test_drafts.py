"""Playbooks that a model drafts: validated like any definition before a person sees them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from celeriac import Json
from engine.checking import problems
from tests.builders import document, edges, node
from tests.loopback import Server, always, serving
from tests.models import chat
from tests.office import Office, office
from tests.people import decide

ACTIONS: dict[str, Json] = {
    "look_up": {"type": "enrich_ip", "description": "Looks up. Params: ip."},
    "cut_off": {
        "type": "quarantine_ip",
        "description": "Cuts off. Params: ip.",
        "fixed": {"alias": "quarantine"},
    },
    "tell": {
        "type": "http_request",
        "description": "Tells.",
        "fixed": {"url": "https://a.example", "method": "POST"},
    },
}
LOOK = {"action": "look_up", "params": {"ip": "203.0.113.9"}, "why": "To know."}
CUT = {"action": "cut_off", "params": {"ip": "203.0.113.9"}, "why": "To be safe."}


def says(*steps: dict[str, Any]) -> bytes:
    return chat(json.dumps({"steps": steps}))


class Desk:
    """An office whose model says what is in its script."""

    def __init__(self, at: Office, stack: AsyncExitStack) -> None:
        self.at = at
        self._stack = stack
        self.model: Server | None = None

    async def draft(self, *script: bytes, rounds: int = 3) -> str:
        """Have a playbook drafted; return the execution, which rests where people are asked."""
        config = {"model": "gpt-4o", "task": "Do something.", "actions": ACTIONS, "rounds": rounds}
        look = node("look", "approval", {"title": "Good?", "show": "{{ nodes.draft.output.definition }}"})
        return await self.run(
            document([node("draft", "ai_playbook", config), look], edges("draft->look")), *script
        )

    async def run(self, whole: dict[str, Any], *script: bytes, payload: Json = None) -> str:
        """Run a workflow with a model that says this."""
        self.model = await self._stack.enter_async_context(serving(always(*script)))
        self.at.keep("openai", "openai", {"api_key": "sk-nobody", "base_url": f"{self.model.url}/v1"})
        execution = self.at.bench.start(self.at.bench.push(whole), payload)
        await self.at.bench.carry(self.at.bench.executor(around=self.at.outside))
        return execution

    def shown(self) -> Any:
        """The draft that the person is shown."""
        assert self.at.bench.query("SELECT 1 FROM approval WHERE status = 'open'")
        ((text,),) = self.at.bench.query("SELECT output FROM journal WHERE node = 'draft' AND step = ''")
        return json.loads(text)["definition"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        yield Desk(await stack.enter_async_context(office(tmp_path)), stack)


async def test_a_draft_is_a_definition_without_mistakes_and_asks_before_what_changes_something(
    desk: Desk,
) -> None:
    execution = await desk.draft(says(LOOK, CUT))
    assert desk.at.bench.status(execution) == "waiting", desk.at.bench.error(execution)
    shown = desk.shown()
    assert [each.severity for each in problems.check(shown, desk.at.bench.registry)] == []
    steps = shown["definition"]["steps"]
    assert [(each["action"], each["params"], each["approval"]) for each in steps] == [
        ("enrich_ip", {"ip": "203.0.113.9"}, False),
        ("quarantine_ip", {"ip": "203.0.113.9", "alias": "quarantine"}, True),
    ]
    desk.at.bench.push(shown)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({**LOOK, "params": {}}, "ip"),
        ({**LOOK, "params": {"ip": "the bad one"}}, "ip"),
        ({**LOOK, "params": {"ip": "203.0.113.9", "nonsense": 1}}, "nonsense"),
        ({**CUT, "params": {"ip": "203.0.113.9", "alias": "everybody"}}, "may not give 'alias'"),
        ({**LOOK, "params": {"ip": "203.0.113.9", "connection": "admin"}}, "may not give 'connection'"),
        ({"action": "tell", "params": {"connection": "crm"}, "why": ""}, "may not give 'connection'"),
        ({"action": "format_disk", "params": {}, "why": ""}, "format_disk"),
    ],
)
async def test_a_draft_with_mistakes_is_told_to_the_model_and_seen_by_nobody(
    bad: dict[str, Any], word: str, desk: Desk
) -> None:
    execution = await desk.draft(says(bad), says(CUT))
    assert desk.at.bench.status(execution) == "waiting", desk.at.bench.error(execution)
    assert desk.model is not None
    again = json.loads(desk.model.asked[1].body)["messages"][-1]["content"]
    assert word in again
    assert [each["action"] for each in desk.shown()["definition"]["steps"]] == ["quarantine_ip"]


async def test_a_model_that_drafts_nothing_good_fails_the_node(desk: Desk) -> None:
    execution = await desk.draft(says({**LOOK, "params": {}}), rounds=2)
    assert desk.at.bench.error(execution)["code"] == "ai.no_fit"


async def test_braces_of_a_model_are_text(desk: Desk) -> None:
    tell = {
        "action": "tell",
        "params": {"body": {"said": "{{ trigger.payload.secret }} {% raw %}"}},
        "why": "",
    }
    execution = await desk.draft(says(tell))
    assert desk.at.bench.status(execution) == "waiting", desk.at.bench.error(execution)
    (step,) = desk.shown()["definition"]["steps"]
    assert step["params"]["body"] == {"said": "{ { trigger.payload.secret }} { % raw %}"}
    assert step["approval"] is True


async def test_the_example_of_the_page_runs(desk: Desk) -> None:
    page = (Path(__file__).parents[2] / "docs" / "ai.md").read_text(encoding="utf-8")
    (text,) = [each for each in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if "ai_playbook" in each]
    ticket = {"action": "ticket", "params": {"summary": "An attack"}, "why": "To remember."}
    execution = await desk.run(json.loads(text), says(LOOK, CUT, ticket), payload={"report": "Guessing."})
    assert [each["action"] for each in desk.shown()["definition"]["steps"]] == [
        "enrich_ip",
        "quarantine_ip",
        "open_ticket",
    ]
    decide(desk.at.bench, "approved")
    await desk.at.bench.carry(desk.at.bench.executor(around=desk.at.outside))
    assert desk.at.bench.status(execution) == "succeeded"
    drafted: Any = desk.at.bench.output(execution)
    desk.at.bench.push(drafted)
