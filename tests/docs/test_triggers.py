"""The page about triggers: its schedules are worked out, and its definitions are run."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api import token
from api.main import create_app
from engine.checking import problems
from engine.triggers.schedules import check, preview
from engine.triggers.spec import Spec, instant
from engine.triggers.verification import Verify, sample
from tests.imap import Imap, message
from tests.mail import look, outcomes
from tests.office import office
from tests.workbench import Workbench, built_in

Answer = tuple[int, Any, Any]
"""A status, a body, and the output of the execution."""

PAGE = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text(encoding="utf-8")
BLOCKS: list[dict[str, Any]] = [
    json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
]
SLOTS = [each for each in BLOCKS if "slots" in each]
REQUESTS = [each for each in BLOCKS if "request" in each]
EVENTS = [each for each in BLOCKS if "events" in each]


@pytest.mark.parametrize(
    "block", [each for each in BLOCKS if "name" in each], ids=lambda each: str(each["name"])
)
def test_a_whole_definition_is_accepted(block: dict[str, Any]) -> None:
    assert problems.check_text(json.dumps(block), built_in()) == (block, [])


def test_every_block_is_looked_at() -> None:
    seen = [each for each in BLOCKS if {"slots", "request", "events", "messages", "name"} & each.keys()]
    assert seen == BLOCKS


@pytest.mark.parametrize("block", SLOTS, ids=lambda each: str(each["config"].get("cron", "interval")))
def test_a_schedule_has_the_slots_that_the_page_shows(block: dict[str, Any]) -> None:
    spec = Spec.parse(check(block["config"]))
    shown = preview(spec, "", instant(block["after"]), len(block["slots"]))
    assert [each["local"] for each in shown] == block["slots"]


@pytest.mark.parametrize("block", [each for each in BLOCKS if "messages" in each])
async def test_messages_start_what_the_page_shows(block: dict[str, Any], imap: Imap, tmp_path: Path) -> None:
    box = imap.mailbox()
    document: dict[str, Any] = {"name": "mail", "definition": block["definition"]}
    assert problems.check_text(json.dumps(document), built_in()) == (document, [])
    document["definition"]["trigger"]["config"]["mailbox"] = box.name
    async with office(tmp_path) as at:
        at.keep("inbox", "imap", imap.values)
        at.bench.push(document)
        await look(at)
        box.put(*(message(each["subject"]) for each in block["messages"]))
        await look(at)
        assert outcomes(at) == sorted(block["outputs"], key=str)


@pytest.fixture(scope="module")
def requests() -> Iterator[list[tuple[dict[str, Any], Answer]]]:
    """Every request of the page, sent, with its answer."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(Path(folder))
        yield asyncio.run(_sent(bench))
        bench.close()


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_a_request_has_the_answer_that_the_page_shows(
    requests: list[tuple[dict[str, Any], Answer]], number: int
) -> None:
    block, (status, answer, output) = requests[number]
    assert status == block["status"], answer
    if "answer" in block:
        assert answer == block["answer"]
    else:
        assert output == block["output"]


async def _sent(bench: Workbench) -> list[tuple[dict[str, Any], Answer]]:
    guard = create_app(bench.settings, serves=False)
    headers = {"Authorization": f"Bearer {token.load(bench.settings)}", "Content-Type": "application/json"}
    transport = httpx2.ASGITransport(guard, raise_app_exceptions=False)
    async with (
        guard.app.router.lifespan_context(guard.app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        found = []
        for number, block in enumerate(REQUESTS):
            document = {"name": f"w{number}", "definition": block["definition"]}
            assert problems.check_text(json.dumps(document), built_in()) == (document, [])
            pushed = await http.post("/api/v1/workflows", json=document, headers=headers)
            assert pushed.status_code == 201, pushed.text
            found.append((block, await _answer(bench, http, block, pushed.json()["webhooks"][0])))
        return found


async def _answer(
    bench: Workbench, http: httpx2.AsyncClient, block: dict[str, Any], issued: dict[str, Any]
) -> Answer:
    """Send a request signed with the secret that was issued, and carry what it starts."""
    asked, verify = block["request"], Verify.parse(issued["config"].get("verify", "hmac"))
    body = json.dumps(asked["body"]).encode()
    signed = sample(verify, issued["secret"], "d1", body, int(time.time()))
    sending = asyncio.create_task(
        http.request(
            asked["method"],
            asked["url"],
            content=body,
            headers={**signed, "Content-Type": "application/json"},
        )
    )
    started = "SELECT id FROM execution WHERE workflow_id = ?"
    while not bench.query(started, issued["workflow"]["id"]) and not sending.done():
        await asyncio.sleep(0.01)
    for (execution,) in bench.query(started, issued["workflow"]["id"]):
        bench.outlet.sent.append(("default", (execution, 0, "")))
        await bench.carry()
        answer = await sending
        return answer.status_code, answer.json(), bench.output(execution)
    answer = await sending
    return answer.status_code, answer.json(), None


@pytest.mark.parametrize(
    "block", EVENTS, ids=lambda each: str(each["definition"]["trigger"]["config"]["type"])
)
async def test_events_start_what_the_page_shows(block: dict[str, Any], tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    guard = create_app(bench.settings, serves=False)
    headers = {"Authorization": f"Bearer {token.load(bench.settings)}"}
    transport = httpx2.ASGITransport(guard, raise_app_exceptions=False)
    document = {"name": "w", "definition": block["definition"]}
    assert problems.check_text(json.dumps(document), built_in()) == (document, [])
    async with (
        guard.app.router.lifespan_context(guard.app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost/api/v1", headers=headers) as http,
    ):
        assert (await http.post("/workflows", json=document)).status_code == 201
        outputs = []
        for event in block["events"]:
            started = (await http.post("/events", json=event)).json()["started"]
            for each in started:
                bench.outlet.sent.append(("default", (each, 0, "")))
                await bench.carry()
            outputs.append(bench.output(started[0]) if started else None)
    bench.close()
    assert outputs == block["outputs"]
