"""Playbooks that a model drafts: validated like any definition before a person sees them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from celeriac import Json
from engine.checking import problems
from tests.builders import document, edges, node
from tests.loopback import Server, always, answer, serving
from tests.models import chat
from tests.office import Office, office
from tests.people import asked, decide

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


def example(name: str) -> Any:
    """An example of the page."""
    page = (Path(__file__).parents[2] / "docs" / "ai.md").read_text(encoding="utf-8")
    found = map(json.loads, re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    return next(each for each in found if each["name"] == name)


async def test_the_example_of_the_page_runs(desk: Desk) -> None:
    ticket = {"action": "ticket", "params": {"summary": "An attack"}, "why": "To remember."}
    execution = await desk.run(
        example("Draft a response"), says(LOOK, CUT, ticket), payload={"report": "Guessing."}
    )
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


# Run out of the execution that drafted it


@dataclass
class Alarm:
    """A service that is told something, and a way to run drafts that tell it."""

    desk: Desk
    server: Server
    whole: dict[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> list[str]:
        return [each.body.decode() for each in self.server.asked]

    async def respond(self, *ways: dict[str, Any], people: str = "approved", **config: Any) -> str:
        """Draft, ask people, run: return the execution, carried as far as it goes with people who say this."""
        fixed: dict[str, Json] = {"url": self.server.url, "method": "POST"}
        action: dict[str, Json] = {"type": "http_request", "fixed": fixed}
        drafting = {
            "model": "gpt-4o",
            "task": "Respond.",
            "actions": {"tell": {**action, "description": "Tells. Params: body."}},
        }
        look = {"title": "Good?", "show": "{{ nodes.draft.output }}", **config}
        running = {"playbook": "{{ nodes.draft.output.definition }}", "actions": [action]}
        nodes = [
            node("draft", "ai_playbook", drafting),
            node("look", "approval", look),
            node("mitigate", "playbook_run", running),
        ]
        tell = {"action": "tell", "params": {"body": {"cut": "203.0.113.9"}}, "why": "To be safe."}
        self.whole = document(nodes, ways)
        execution = await self.desk.run(self.whole, says(tell))
        return await self.people_say(execution, people)

    async def people_say(self, execution: str, decision: str) -> str:
        bench = self.desk.at.bench
        worker = bench.executor(children=self.desk.at.children, around=self.desk.at.outside)
        while bench.query("SELECT 1 FROM approval WHERE status = 'open'"):
            decide(bench, decision)
            await bench.carry(worker)
        return execution


@pytest.fixture
async def alarm(desk: Desk) -> AsyncIterator[Alarm]:
    async with serving(always(answer('{"ok": true}', Content_Type="application/json"))) as server:
        yield Alarm(desk, server)


ASKED = [
    {"from": "draft", "to": "look"},
    {"from": "look", "port": "approved", "to": "mitigate"},
]


async def test_a_draft_that_people_agree_to_is_run_and_asks_before_what_changes_something(
    alarm: Alarm,
) -> None:
    execution = await alarm.respond(*ASKED)
    bench = alarm.desk.at.bench
    assert bench.status(execution) == "succeeded", bench.error(execution)
    assert [json.loads(each) for each in alarm.told] == [{"cut": "203.0.113.9"}]
    titles = bench.query("SELECT title, status FROM approval ORDER BY title")
    assert titles == [("Good?", "approved"), ("May http_request be done?", "approved")]
    output: Any = bench.output(execution)
    assert output["mitigate"]["result"]["step_1"]["body"] == {"ok": True}
    ((name, hidden),) = bench.query(
        "SELECT w.name, w.hidden FROM execution e JOIN workflow w ON w.id = e.workflow_id "
        "WHERE e.parent_execution = ? AND w.name LIKE '%@@kept-%'",
        execution,
    )
    assert hidden == 1
    # The same draft is kept once, however often it is run.
    again = bench.start(bench.push(alarm.whole))
    await bench.carry(bench.executor(around=alarm.desk.at.outside))
    await alarm.people_say(again, "approved")
    assert bench.status(again) == "succeeded"
    assert bench.query("SELECT count(*) FROM workflow WHERE name = ?", name) == [(1,)]
    assert len(alarm.told) == 2


async def test_a_draft_that_nobody_was_asked_about_is_not_run(alarm: Alarm) -> None:
    ways = [{"from": "draft", "to": "mitigate"}, {"from": "mitigate", "to": "look"}]
    execution = await alarm.respond(*ways)
    assert alarm.desk.at.bench.error(execution)["code"] == "playbook.not_approved"
    assert alarm.told == []


async def test_a_draft_that_people_reject_is_not_run_where_the_way_leads_on(alarm: Alarm) -> None:
    ways = [{"from": "draft", "to": "look"}, {"from": "look", "port": "rejected", "to": "mitigate"}]
    execution = await alarm.respond(*ways, people="rejected")
    assert alarm.desk.at.bench.error(execution)["code"] == "playbook.not_approved"
    assert alarm.told == []


async def test_what_people_agree_to_is_the_text_that_they_were_shown(alarm: Alarm) -> None:
    execution = await alarm.respond(*ASKED, show="{{ nodes.draft.output.reasons }}")
    assert alarm.desk.at.bench.error(execution)["code"] == "playbook.not_approved"
    assert alarm.told == []


async def test_time_agrees_to_nothing(alarm: Alarm) -> None:
    bench = alarm.desk.at.bench
    alarm.people_say = AsyncMock(side_effect=lambda execution, _: execution)  # type: ignore[method-assign]  # nobody says a word
    execution = await alarm.respond(*ASKED, timeout="1h", on_timeout="approve")
    assert bench.status(execution) == "waiting"
    bench.clock.move(3601)
    bench.poller().tick()
    await bench.carry(bench.executor(around=alarm.desk.at.outside))
    assert bench.error(execution)["code"] == "playbook.not_approved"
    assert alarm.told == []


async def test_a_step_that_people_reject_ends_the_playbook_and_the_node(alarm: Alarm) -> None:
    bench = alarm.desk.at.bench
    alarm.people_say = AsyncMock(side_effect=lambda execution, _: execution)  # type: ignore[method-assign]  # they come one by one
    execution = await alarm.respond(*ASKED)
    worker = bench.executor(around=alarm.desk.at.outside)
    for decision in ("approved", "rejected"):
        decide(bench, decision)
        await bench.carry(worker)
    assert bench.error(execution)["code"] == "workflow.failed_child"
    assert "playbook.rejected" in json.dumps(bench.error(execution))
    assert alarm.told == []


async def test_the_example_that_runs_its_draft_comes_to_its_first_step(alarm: Alarm) -> None:
    whole = example("Respond")
    whole["definition"]["nodes"][1]["config"]["approvers"] = {}
    bench = alarm.desk.at.bench
    execution = await alarm.desk.run(whole, says(CUT), payload={"report": "Guessing."})
    decide(bench, "approved")
    await bench.carry(bench.executor(around=alarm.desk.at.outside))
    assert asked(bench)[1] == "May quarantine_ip be done?"
    await alarm.people_say(execution, "rejected")
    assert "playbook.rejected" in json.dumps(bench.error(execution))
