"""Servers of tools that are programs: a real one on its input and output, and the manners that such programs have."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Effect, Fail, Json, TryAgain, Uncertain
from celeriac.testing import Outcome, run_node
from engine.outside.addresses import Policy
from engine.outside.egress import Egress, OpenLink
from engine.outside.server_programs import LINE_BYTES, Programs
from nodes.ai.ai_agent import ai_agent
from nodes.ai.mcp_call import mcp_call
from nodes.connections.mcp_program import mcp_program as kind
from nodes.mcp.over_program import Lines
from tests import tool_program, vendors
from tests.builders import wait_until
from tests.loopback import always, serving
from tests.models import chat, wants
from tests.unit.engine.outside.test_server_programs import lives

TOKEN = "s3cr3t-0f-the-pr0gram"  # gitleaks: it opens nothing


class Box:
    """A program that an operator allows, and the way to it. `pids` are its own, and of all it has started."""

    def __init__(self, folder: Path, *manners: str) -> None:
        self.notes = folder / "notes"
        line = (
            f"tools=TOKEN={{token}} {sys.executable} {tool_program.__file__} {self.notes} {' '.join(manners)}"
        )
        self.egress = Egress(Policy(), programs=Programs.parse(line))

    @property
    def pids(self) -> list[int]:
        return [int(each) for each in self.notes.read_text().split()] if self.notes.exists() else []

    @property
    def filed(self) -> list[str]:
        file = self.notes.with_suffix(".filed")
        return file.read_text().splitlines() if file.exists() else []

    def link(self, **values: Json) -> OpenLink:
        return vendors.linked(self.egress, "mcp_program", {"program": "tools", "token": TOKEN, **values})

    async def use(self, tool: str, arguments: dict[str, Json] | None = None, **config: Any) -> Outcome:
        given = {"tool": tool, "arguments": arguments or {}, **config}
        outcome = await run_node(mcp_call, given, connections={"mcp": self.link()})
        assert self.pids
        assert not any(map(lives, self.pids))
        return outcome


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    made = Box(tmp_path)
    yield made
    await made.egress.aclose()


def value(outcome: Outcome) -> Any:
    assert outcome.error is None, outcome.error
    return outcome.value


async def test_a_tool_is_used_and_what_it_came_to_is_told(box: Box) -> None:
    found = value(await box.use("add", {"a": 2, "b": 40}, reads=True))
    assert found == {"text": "42", "data": {"is": 42}, "content": [{"type": "text", "text": "42"}]}
    await box.use("file", {"text": "hello"})
    assert box.filed == ["hello"]


async def test_a_program_gets_the_secret_of_its_connection_and_no_other(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERIAC_SECRET_KEY", "of-the-house")
    seen = value(await box.use("environment"))["data"]["is"]
    assert seen["variables"]["TOKEN"] == TOKEN
    assert "of-the-house" not in json.dumps(seen)
    assert seen["open"] == []


async def test_the_connection_is_tested(box: Box) -> None:
    link = box.link()
    names = ", ".join(tool_program.TOOLS)
    assert await kind.test(link.fields, link) == f"program has {len(tool_program.TOOLS)} tools: {names}."


@pytest.mark.parametrize(
    ("values", "code"),
    [({"program": "/bin/sh"}, "program.unknown"), ({"token": None}, "program.values")],
)
async def test_a_connection_chooses_among_what_is_allowed_and_starts_nothing_else(
    box: Box, values: dict[str, Json], code: str
) -> None:
    link = box.link(**values)
    with pytest.raises(Fail) as caught:
        await kind.test(link.fields, link)
    assert caught.value.code == code
    assert box.pids == []


async def test_what_a_program_starts_goes_with_it(box: Box) -> None:
    value(await box.use("start"))
    assert len(box.pids) == 4


async def test_what_a_program_asks_is_answered_and_what_is_no_message_passed_over(box: Box) -> None:
    first, second = value(await box.use("ping"))["data"]["is"]
    assert first == {"jsonrpc": "2.0", "id": "a", "result": {}}
    assert (second["id"], second["error"]["code"]) == ("b", -32601)


@pytest.mark.parametrize(
    ("tool", "arguments", "kind", "code"),
    [
        ("fail", {}, "failed", "mcp.tool_failed"),
        ("nothing", {}, "failed", "mcp.refused"),
        ("die", {}, "try_again", "mcp.no_answer"),
        ("long", {"size": LINE_BYTES}, "failed", "program.line_too_large"),
        ("long", {"size": 1_000_000}, "output", None),
    ],
)
async def test_whatever_a_program_does_comes_to_something(
    box: Box, tool: str, arguments: dict[str, Json], kind: str, code: str | None
) -> None:
    outcome = await box.use(tool, arguments, reads=True)
    assert (outcome.kind, outcome.code) == (kind, code)
    once = await box.use(tool, arguments)
    lost = code in ("mcp.no_answer", "program.line_too_large")
    assert (once.kind, once.code) == (("uncertain", "effect.uncertain") if lost else (kind, code))


async def test_the_last_words_of_a_program_that_dies_are_told(box: Box) -> None:
    outcome = await box.use("die", reads=True)
    assert outcome.error is not None
    assert "It ended with the code 7, and said: Out of paper." in outcome.error.message


async def test_a_program_that_takes_too_long_is_killed(box: Box) -> None:
    outcome = await box.use("hang", reads=True, timeout=1.0)
    assert (outcome.kind, outcome.code) == ("try_again", "mcp.timeout")
    assert outcome.error is not None
    assert "no answer within 1 s" in outcome.error.message


class Mute:
    """A program that reads and says nothing."""

    async def write(self, line: bytes) -> None:
        pass

    async def read(self) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async def last_words(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("effect", "error"), [(Effect.READ, TryAgain), (Effect.KEYED, TryAgain), (Effect.ONCE, Uncertain)]
)
async def test_of_what_may_not_be_repeated_nobody_knows_when_there_is_no_answer(
    effect: Effect, error: type[Exception]
) -> None:
    with pytest.raises(error, match="no answer within 0.01 s"):
        await Lines(Mute(), "It", 0.01).ask({"id": 1}, effect)


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_program_that_is_killed_while_it_works_leaves_no_answer(box: Box, signal_: int) -> None:
    working = asyncio.ensure_future(box.use("hang"))
    await asyncio.to_thread(wait_until, lambda: bool(box.pids))
    os.kill(box.pids[0], signal_)
    assert (await working).kind in ("uncertain", "try_again")  # it may not have been asked yet


async def test_a_call_that_is_cancelled_leaves_nothing(box: Box) -> None:
    working = asyncio.ensure_future(box.use("hang"))
    await asyncio.to_thread(wait_until, lambda: bool(box.pids))
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not lives(box.pids[0])


@pytest.mark.parametrize(
    ("manners", "kind", "code", "words"),
    [
        ("greets", "output", None, ""),
        ("chatty", "output", None, ""),
        ("stays", "output", None, ""),
        ("greets chatty stays", "output", None, ""),
        ("babbles", "failed", "mcp.invalid", "no messages, like '[info] ready'"),
        ("ends", "try_again", "mcp.no_answer", "the code 3, and said: There is no configuration."),
        ("old", "failed", "mcp.version", "1999-01-01"),
        ("silent", "try_again", "mcp.timeout", "no answer within 1 s"),
    ],
)
async def test_manners(tmp_path: Path, manners: str, kind: str, code: str | None, words: str) -> None:
    box = Box(tmp_path, *manners.split())
    # Nothing has been asked of a tool by then, so nothing can be uncertain.
    outcome = await box.use("add", {"a": 1, "b": 2}, timeout=1.0 if manners == "silent" else 60.0)
    assert (outcome.kind, outcome.code) == (kind, code)
    assert words in (outcome.error.message if outcome.error else "")


async def test_an_agent_uses_tools_that_a_program_lists(box: Box) -> None:
    script = [wants(("tools__file", {"text": "hello"})), chat("Filed.")]
    server: dict[str, Json] = {"connection": "tools", "allow": [{"tools": "fil?", "idempotent": True}]}
    async with serving(always(*script)) as model:
        reached = vendors.loopback_egress()
        asked = vendors.linked(reached, "openai", {"api_key": "sk-nobody", "base_url": f"{model.url}/v1"})
        outcome = await run_node(
            ai_agent,
            {"model": "gpt-4o", "task": "File hello.", "servers": [server]},
            connections={"openai": asked, "tools": box.link()},
            types={"mcp_call": mcp_call},
        )
        await reached.aclose()
    assert value(outcome)["calls"][0]["ok"] is True
    assert box.filed == ["hello"]
    assert len(box.pids) == 2
    assert not any(map(lives, box.pids))
