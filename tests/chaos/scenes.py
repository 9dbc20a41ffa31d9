"""The processes that the sweep breaks, and the work each of them is given meanwhile.

Work has a word of its own, which stands in the input of every execution that comes of it: so many there have to be, and not
one more, however often it was asked for.
"""

from __future__ import annotations

import os
import secrets
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx2

from engine.triggers import schedules
from tests import tool_program
from tests.builders import Process, document, edge, edges, is_ready, node
from tests.chaos.drafts import Case
from tests.chaos.stack import free_port
from tests.faults.conftest import Site
from tests.imap import Imap, message

ENDS = ("succeeded", "failed", "cancelled", "timed_out")
NEVER = {"name": "never", "event": {"type": "never"}}
_ANSWER_SECONDS = 1.0
_TOKEN = secrets.token_hex(20)


@dataclass
class Work:
    """What was asked of a process. `asks` are repeated until each is granted, as by somebody who got no answer."""

    site: Site
    word: str
    expected: int
    asks: list[Callable[[], bool]] = field(default_factory=list)
    executions: list[str] = field(default_factory=list)

    def step(self) -> bool:
        """Ask for what is not granted yet; return whether all of it has come to its end."""
        self.asks = [ask for ask in self.asks if not ask()]
        look = "SELECT e.id, w.name, e.status FROM execution e JOIN workflow w ON w.id = e.workflow_id WHERE e.input LIKE ?"
        rows = self.site.client.query(look, f"%{self.word}%")
        self.executions = [name for name, _, _ in rows]
        self.site.names |= {name: workflow for name, workflow, _ in rows}
        return not self.asks and len(rows) >= self.expected and all(status in ENDS for _, _, status in rows)

    def state(self) -> str:
        """Tell what is still missing."""
        return (
            f"{len(self.asks)} not granted, {len(self.executions)} of {self.expected} executions: {self._ends()}\n"
            f"{self.site.client.unfinished_rows()}"
        )

    def _ends(self) -> list[tuple[str, str]]:
        look = "SELECT status, error FROM execution WHERE id = ?"
        return [self.site.client.query(look, each)[0] for each in self.executions]

    def wrong(self) -> str:
        """Tell what is broken of that each thing that was asked for is done once."""
        self.step()
        found = len(self.executions)
        return "" if found == self.expected else f"{found} executions, where {self.expected} were asked for"


class Scene(ABC):
    """A kind of process, and the work that leads it through what it can do. `lane` tells it from its like."""

    name: ClassVar[str]
    survivors: ClassVar[int] = 2
    """How many workers an installation for this needs besides."""
    around: ClassVar[dict[str, str]] = {}
    """The environment of such an installation."""
    patience: ClassVar[float] = 40.0
    """Seconds within which work has to come to its end, whatever is broken."""
    is_short: ClassVar[bool] = False
    """Whether the process ends by itself when it has done its work."""

    def __init__(self, site: Site, lane: int) -> None:
        self.site = site
        self.lane = f"{self.name}-{lane}"

    @abstractmethod
    def start(self, **more: str) -> Process:
        """Start the process, with this in its environment besides."""

    @abstractmethod
    def is_ready(self, victim: Process) -> bool:
        """Whether it takes work. Raises `AssertionError` when it ended instead."""

    @abstractmethod
    def work(self) -> Work:
        """Begin a piece of work."""

    def _process(self, line: list[str], more: dict[str, str]) -> Process:
        return Process(line, {**self.site.around, **more}, self.site.folder / f"{self.lane}.log")

    def _alive(self, victim: Process) -> None:
        if victim.code is not None:
            raise AssertionError(f"the {self.name} ended with {victim.code}:\n{victim.said()[-2000:]}")


class Worker(Scene):
    """A worker whom alone a workflow is for, with an effect, a call, a timer, an answer, an event and words of its own."""

    name = "worker"

    def __init__(self, site: Site, lane: int) -> None:
        super().__init__(site, lane)
        self._starts = 0
        queue = self.lane
        site.push(document([site.call(f"inner-{queue}")], queue=queue), f"inner-{queue}")
        far = site.call("last")
        far["config"]["url"] = far["config"]["url"].replace("127.0.0.1", "localhost")
        nodes = [
            node("say", "respond", {"status": 201, "body": "{{ k }}"}),
            site.call("first"),
            node("aloud", "aloud", {"text": "{{ s }}"}),
            node("left", "compute", {"seconds": 0.05, "value": 1}),
            node("tell", "emit", {"event": "swept", "data": {"k": "{{ k }}"}}),
            node(
                "ask", "workflow", {"workflow": f"inner-{queue}", "input": {"k": "{{ k }}", "s": "{{ s }}"}}
            ),
            node("pause", "wait", {"for": 0.05}),
            node("hear", "wait", {"any_of": [NEVER, {"name": "late", "for": 0.05}]}),
            node("meet", "merge"),
            far,
        ]
        ways = edges(
            "say->first->left->meet->last",
            "first->aloud->meet",
            "first->tell->meet",
            "first->ask->meet",
            "first->pause->meet",
            "first->hear",
        )
        ways.append(edge("hear", "meet", port="late"))
        self._workflow = site.push(document(nodes, ways, queue=queue), f"swept-{queue}")

    def start(self, **more: str) -> Process:
        """Start it, with a file of its own for its words: who was ready before it is not meant."""
        self._starts += 1
        return self.site.worker(f"{self.lane}-{self._starts}", self.lane, **more)

    def is_ready(self, victim: Process) -> bool:
        """Whether it consumes."""
        return is_ready(victim)

    def work(self) -> Work:
        """Accept an execution, as an API does that dies then, and send it."""
        word = secrets.token_hex(8)
        execution = self.site.accept_silently(
            self._workflow, {"k": 1, "s": word}, reply_to=f"told-{self.lane}"
        )
        self.site.send([(execution, 0, "")], self.lane)
        return Work(self.site, word, 2)


class Door(Scene):
    """An API: somebody starts an execution, delivers to a webhook whose answer he waits for, publishes, and fills in the past."""

    name = "api"

    def __init__(self, site: Site, lane: int) -> None:
        super().__init__(site, lane)
        self._port = free_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self._hook = ""
        said = [node("say", "respond", {"status": 201, "body": "{{ s }}"}), site.call("effect")]
        hook = {"type": "webhook", "config": {"verify": "none", "respond": "respond_node"}}
        event = {"type": "event", "config": {"type": "delivered", "subject": self.lane}}
        plain = [site.call("effect")]
        self._documents = {
            f"plain-{self.lane}": document(plain),
            f"hook-{self.lane}": document(said, edges("say->effect"), trigger=hook),
            f"event-{self.lane}": document(plain, trigger=event),
        }
        for name, body in self._documents.items():
            body["name"] = name
            body["definition"].setdefault("variables", {})
            site.cases[name] = Case(body, {}, {})

    def start(self, **more: str) -> Process:
        """Start it at the port of this lane."""
        line = ["-m", "celeriac", "api", "--port", str(self._port)]
        return self._process(line, {"CELERIAC_API_TOKEN": _TOKEN, **more})

    def is_ready(self, victim: Process) -> bool:
        """Whether it answers; at first its workflows are brought to it."""
        self._alive(victim)
        try:
            if httpx2.get(f"{self._url}/readyz", timeout=_ANSWER_SECONDS).status_code != 200:
                return False
        except httpx2.TransportError:
            return False
        if not self._hook:
            self._prepare()
        return True

    def _prepare(self) -> None:
        for body in self._documents.values():
            reply = self._ask("POST", "/api/v1/workflows", json=body)
            assert reply is not None
            assert reply.status_code == 201, reply.text
            for each in reply.json().get("webhooks", ()):
                self._hook = "/" + each["url"].split("/", 3)[3]

    def _ask(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """Put a question, and return the answer if one came."""
        headers = {"Authorization": f"Bearer {_TOKEN}", **more.pop("headers", {})}
        with suppress(httpx2.TransportError):
            return httpx2.request(
                method, f"{self._url}{path}", headers=headers, timeout=_ANSWER_SECONDS, **more
            )
        return None

    def work(self) -> Work:
        """Ask for four things, each as often as it takes."""
        word = secrets.token_hex(8)
        payload = {"k": 1, "s": word}
        at = self.site.client.runtime
        now = at.clock.now()
        first = (now // 1000 - 3600) * 1000
        past = {"every": "1s", "start": _instant(first), "end": _instant(first + 999), "payload": payload}
        at.ledger.ask(schedules.add(f"sched_{word}", f"plain-{self.lane}", f"s{word}", past, now))

        def granted(*good: int) -> Callable[[httpx2.Response | None], bool]:
            def is_granted(reply: httpx2.Response | None) -> bool:
                if reply is None or reply.status_code >= 500:
                    return False
                assert reply.status_code in good, reply.text
                return True

            return is_granted

        def start() -> bool:
            path = f"/api/v1/workflows/plain-{self.lane}/execute"
            key = {"Idempotency-Key": word}
            return granted(200, 202)(self._ask("POST", path, json={"input": payload}, headers=key))

        def deliver() -> bool:
            reply = self._ask("POST", self._hook, json=payload, headers={"X-Webhook-Id": word})
            return granted(200, 201, 202)(reply)

        def publish() -> bool:
            body = {"type": "delivered", "id": word, "correlation": self.lane, "data": payload}
            return granted(200, 201, 202)(self._ask("POST", "/api/v1/events", json=body))

        def fill() -> bool:
            span = {"from": _instant(first), "to": _instant(first + 1)}
            return granted(200)(self._ask("POST", f"/api/v1/schedules/sched_{word}/backfill", json=span))

        def clash() -> bool:
            """Ask for a schedule whose name is taken, so that a transaction is taken back."""
            body = {"workflow": f"plain-{self.lane}", "name": f"s{word}", "config": past}
            return granted(409)(self._ask("POST", "/api/v1/schedules", json=body))

        return Work(self.site, word, 4, [start, deliver, publish, fill, clash])


class Clockwork(Scene):
    """A poller, alone with a worker: a slot of a schedule comes due, and something was accepted that nobody sent."""

    name = "poller"
    survivors = 1
    around: ClassVar = {"CELERIAC_TIMING_POLL": "3600000", "CELERIAC_TIMING_CANARY": "3600000"}

    def __init__(self, site: Site, lane: int) -> None:
        super().__init__(site, lane)
        self._workflow = site.push(document([site.call("effect")]), f"due-{self.lane}")

    def start(self, **more: str) -> Process:
        """Start one that looks often."""
        often = {"CELERIAC_TIMING_POLL": "100", "CELERIAC_TIMING_CANARY": "100"}
        return self._process(["-m", "celeriac", "poller"], {**often, **more})

    def is_ready(self, victim: Process) -> bool:
        """Whether it has begun."""
        self._alive(victim)
        return "polling" in victim.said()

    def work(self) -> Work:
        """Make a schedule of one slot, and accept an execution in silence."""
        word = secrets.token_hex(8)
        at = self.site.client.runtime
        now = at.clock.now()
        first = (now // 1000 + 2) * 1000
        config = {
            "every": "1s",
            "start": _instant(first),
            "end": _instant(first + 999),
            "payload": {"k": 1, "s": word},
        }
        at.ledger.ask(schedules.add(f"sched_{word}", self._workflow.workflow, word, config, now))
        self.site.accept_silently(self._workflow, {"k": 2, "s": word})
        return Work(self.site, word, 2)


class Post(Scene):
    """A worker that reads a mailbox, and has a program of this machine look at each message."""

    name = "mail"
    survivors = 0
    around: ClassVar = {
        "CELERIAC_MCP_PROGRAMS": f"tools={sys.executable} {tool_program.__file__} {os.devnull}"
    }
    patience = 100.0  # a mailbox that could not be read is left alone for a minute

    def __init__(self, site: Site, lane: int) -> None:
        super().__init__(site, lane)
        self._starts = 0
        self._imap = Imap()
        site.opened.callback(self._imap.close)
        site.client.keep("inbox", "imap", self._imap.values)
        site.client.keep("tools", "mcp_program", {"program": "tools"})
        self._box = self._imap.mailbox()
        trigger = {"type": "email", "config": {"mailbox": self._box.name, "every": "1s", "existing": True}}
        said = node("said", "transform", {"expression": "email.subject"})
        add = {"connection": "tools", "tool": "add", "arguments": {"a": 1, "b": 1}, "reads": True}
        nodes = [said, node("looked", "mcp_call", add)]
        site.push(document(nodes, edges("said->looked"), trigger=trigger), f"post-{self.lane}")

    def start(self, **more: str) -> Process:
        """Start it."""
        self._starts += 1
        return self.site.worker(f"{self.lane}-{self._starts}", **more)

    def is_ready(self, victim: Process) -> bool:
        """Whether it consumes."""
        return is_ready(victim)

    def work(self) -> Work:
        """Put two messages into the box."""
        word = secrets.token_hex(8)
        self._box.put(message(f"one {word}"), message(f"two {word}"))
        return Work(self.site, word, 2)


class Copy(Scene):
    """A backup: it is whole, or there is none."""

    name = "backup"
    is_short = True

    def __init__(self, site: Site, lane: int) -> None:
        super().__init__(site, lane)
        self._count = 0
        self._file = Path()

    def start(self, **more: str) -> Process:
        """Start one that writes a new file; what a dead one left there would be in its way."""
        self._count += 1
        self._file = self.site.folder / f"{self.lane}-{self._count}.db"
        return self._process(["-m", "celeriac", "backup", str(self._file)], more)

    def is_ready(self, victim: Process) -> bool:
        """Whether it is done, and well."""
        assert victim.code in (None, 0), victim.said()[-2000:]
        return victim.code == 0

    def _is_there(self) -> bool:
        return self._file.exists()

    def work(self) -> Work:
        """Nothing but the copy itself."""
        return Work(self.site, secrets.token_hex(8), 0, [self._is_there])


SCENES: dict[str, type[Scene]] = {each.name: each for each in (Worker, Door, Clockwork, Post, Copy)}


def _instant(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat()
