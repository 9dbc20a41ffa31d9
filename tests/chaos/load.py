"""Clients: they push random definitions and start them under idempotency keys, again when they got no answer.

What each of them saw is written down as it saw it: accepted, refused, or nobody knows.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import httpx2

from tests.builders import wait_until
from tests.chaos.checker import Op, Outcome
from tests.chaos.constructs import EVENTS, EVERYBODY, PEOPLE
from tests.chaos.dags import Case, Taste, draw, library
from tests.chaos.stack import Stack, body_of

CLIENTS = 8
PATIENCE = 4.0


class Load:
    """A few clients, each a thread. `open_limit` bounds what has been accepted and has not ended."""

    def __init__(self, stack: Stack, seed: int, taste: Taste, open_limit: int) -> None:
        self._stack = stack
        self._seed = seed
        self._taste = taste
        self._open_limit = open_limit
        self._open = 0
        self._latest: deque[str] = deque(maxlen=256)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.cases: dict[str, Case] = {}
        self._names: list[str] = []
        self.ops: list[Op] = []
        self.replies: Counter[str] = Counter()
        """What came of each request to start: a status, or the error of the way there."""
        self.cancels: set[str] = set()
        self._threads = [
            threading.Thread(target=self._submit, args=(index,), name=f"client-{index}", daemon=True)
            for index in range(CLIENTS)
        ]
        self._threads.append(threading.Thread(target=self._take_part, name="people", daemon=True))

    def prepare(self, count: int) -> None:
        """Push definitions while all is calm."""
        rng = random.Random(f"definitions {self._seed}")
        with self._client() as client:
            called = library(rng, replace(self._taste, nodes=4), 4)
            taste = replace(self._taste, library=tuple(called))
            drawn = {f"case-{index}": draw(rng, taste, f"case-{index}") for index in range(count)}
            for case in (*called.values(), *drawn.values()):
                wait_until(partial(_push, client, case), 60, "a definition's acceptance")
            self._names = list(drawn)
            self.cases = {**called, **drawn}

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def tell_open(self, count: int) -> None:
        """How many executions have not ended."""
        self._open = count

    def young(self, count: int) -> list[str]:
        """The executions accepted last."""
        with self._lock:
            return list(self._latest)[-count:]

    def old(self, count: int) -> list[str]:
        """Executions accepted a while ago."""
        with self._lock:
            return list(self._latest)[:count]

    def look_after(self) -> int:
        """Do what an operator does: let what was put aside run again. Returns how much it was."""
        with self._client() as client, suppress(httpx2.TransportError):  # it may be on its way to a new start
            found = body_of(client.get("/api/v1/attention", params={"limit": 200}))["data"]
            waiting = [each for each in found if each["status"] == "quarantined"]
            for each in waiting:
                place = f"/api/v1/executions/{each['execution']}/segments/{each['segment']}/resolve"
                client.post(place, json={"decision": "retry", "item": each.get("item", "")})
            return len(waiting)
        return 0

    def _submit(self, index: int) -> None:
        rng = random.Random(f"client {self._seed} {index}")
        with self._client() as client:
            number = 0
            while not self._ended.is_set():
                if self._open > self._open_limit:
                    time.sleep(0.05)
                    continue
                number += 1
                name = rng.choice(self._names)
                payload = {**self.cases[name].payload, "k": rng.randint(0, 99)}
                self._start(client, rng, name, payload, f"{self._seed}-{index}-{number}")
                time.sleep(0.15 * rng.random())

    def _take_part(self) -> None:
        """Do what people and other programs do: publish events, and say what they think of what they are asked."""
        rng = random.Random(f"people {self._seed}")
        with self._client() as client:
            number = 0
            while not self._ended.is_set():
                number += 1
                with suppress(httpx2.TransportError):
                    about = rng.choice((EVERYBODY, *self.young(20)))
                    event = {"type": rng.choice(EVENTS), "correlation": about, "data": {"said": number}}
                    client.post("/api/v1/events", json=event)
                    asked = client.get("/api/v1/approvals", params={"status": "open"})
                    for each in body_of(asked)["data"][:10] if asked.status_code == 200 else ():
                        self._say(client, rng, each)
                time.sleep(0.1)

    def _say(self, client: httpx2.Client, rng: random.Random, asked: Any) -> None:
        """Somebody says what he thinks; he may not be asked, and may have said so before."""
        voice = {
            "decision": rng.choice(("approve", "approve", "reject")),
            "shown_hash": asked["shown_hash"],
        }
        people = {"X-Celeriac-Principal": rng.choice(PEOPLE)}
        client.post(f"/api/v1/approvals/{asked['id']}/decide", json=voice, headers=people)

    def _start(self, client: httpx2.Client, rng: random.Random, name: str, payload: Any, key: str) -> None:
        """Start one execution; without an answer ask again, and sometimes ask again in spite of one."""
        for _ in range(40):
            outcome, execution = self._ask(client, name, payload, key)
            if outcome == "info" and rng.random() < 0.95:
                time.sleep(0.2)
            elif execution is not None and rng.random() < 0.04:
                self._cancel(client, execution)
            elif execution is not None and rng.random() < 0.04:
                self._confuse(client, name, {**payload, "k": payload["k"] + 1}, key)
            elif outcome != "ok" or rng.random() < 0.85:
                return

    def _ask(self, client: httpx2.Client, name: str, payload: Any, key: str) -> tuple[Outcome, str | None]:
        at = time.time_ns() // 1_000_000
        outcome: Outcome = "info"
        execution = None
        try:
            reply = client.post(
                f"/api/v1/workflows/{name}/execute", json={"input": payload}, headers={"Idempotency-Key": key}
            )
            if reply.status_code in (200, 202):
                outcome, execution = "ok", body_of(reply)["id"]
            elif 400 <= reply.status_code < 500:
                outcome = "fail"
            came = str(reply.status_code)
        except httpx2.TransportError as error:
            came = type(error).__name__
        with self._lock:
            self.replies[came] += 1
            self.ops.append(Op(key, outcome, execution, at))
            if execution is not None:
                self._latest.append(execution)
        return outcome, execution

    def _cancel(self, client: httpx2.Client, execution: str) -> None:
        """Ask it to stop, which may come too late."""
        with self._lock:
            self.cancels.add(execution)
        with suppress(httpx2.TransportError):
            client.post(f"/api/v1/executions/{execution}/cancel")

    def _confuse(self, client: httpx2.Client, name: str, payload: Any, key: str) -> None:
        """Use a key for another request. If that is accepted, the judge will find it under a key that is not there."""
        with suppress(httpx2.TransportError):
            reply = client.post(
                f"/api/v1/workflows/{name}/execute", json={"input": payload}, headers={"Idempotency-Key": key}
            )
            if reply.status_code in (200, 202):
                with self._lock:
                    self.ops.append(Op(f"{key} for another request", "ok", body_of(reply)["id"], 0))

    def _client(self) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self._stack.token}"}
        return httpx2.Client(base_url=self._stack.url, headers=headers, timeout=PATIENCE, trust_env=False)


def _push(client: httpx2.Client, case: Case) -> bool:
    """Save a definition. Returns whether the API answered, which may die on the way."""
    try:
        reply = client.post("/api/v1/workflows", json=case.document)
    except httpx2.TransportError:
        return False
    if 400 <= reply.status_code < 500:
        raise AssertionError(f"a definition was refused: {reply.text}")
    return reply.status_code in (200, 201)
