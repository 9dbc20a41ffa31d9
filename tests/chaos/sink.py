"""The ledger of effects outside the engine: a small HTTP server that writes down what reaches it, and then answers.

Every request is one row in a file of its own (WAL, fully synchronous), committed before the reply leaves; requests that
wait together share a commit. A request with an `Idempotency-Key` known already gets the first reply again and changes
nothing. What else happens is said in the URL, one word a request of its key, the last one for ever after:

    POST /effect?node=N&script=500,drop,ok&delay=0.2

- `ok` applies and answers 200; `drop` applies and breaks the connection off; `lose` breaks it off without applying;
- a number applies nothing and answers that status (429 with `Retry-After: 0`).

`python -m tests.chaos.sink FILE [PORT]` prints its port and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

TABLES = """
CREATE TABLE IF NOT EXISTS request (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, key TEXT, execution TEXT, node TEXT, body_hash TEXT NOT NULL,
    applied INTEGER NOT NULL, behaviour TEXT NOT NULL, status INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS request_key ON request (key);
CREATE TABLE IF NOT EXISTS reply (key TEXT PRIMARY KEY, body_hash TEXT NOT NULL, text TEXT NOT NULL);
"""
BROKEN_OFF = 0
"""The status of a request that got no answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """What came over the wire."""

    method: str
    target: str
    key: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back; status `BROKEN_OFF` is no answer at all."""

    status: int
    text: str = "{}"


@dataclass(frozen=True, slots=True)
class Effect:
    """One row, as the checker reads it. `at` is in milliseconds since the epoch."""

    at: int
    key: str | None
    execution: str | None
    node: str | None
    body_hash: str
    applied: bool
    behaviour: str
    status: int


class Book:
    """The file. `write` takes requests that wait together and answers them in their order, after the commit."""

    def __init__(self, path: Path) -> None:
        self._raw = sqlite3.connect(path, isolation_level=None)
        self._raw.execute("PRAGMA journal_mode=WAL")
        self._raw.execute("PRAGMA synchronous=FULL")
        self._raw.executescript(TABLES)

    def close(self) -> None:
        self._raw.close()

    def effects(self) -> list[Effect]:
        """The rows, in the order they came."""
        rows = self._raw.execute(
            "SELECT at, key, execution, node, body_hash, applied, behaviour, status FROM request ORDER BY id"
        ).fetchall()
        return [
            Effect(at, key, execution, node, digest, bool(applied), behaviour, status)
            for at, key, execution, node, digest, applied, behaviour, status in rows
        ]

    def write(self, requests: list[Request], now: int) -> list[Reply]:
        self._raw.execute("BEGIN IMMEDIATE")
        replies = [self._write(each, now) for each in requests]
        self._raw.execute("COMMIT")
        return replies

    def _write(self, request: Request, now: int) -> Reply:
        query = parse_qs(urlsplit(request.target).query)
        body = json.loads(request.body or b"{}")
        told = body if isinstance(body, dict) else {}
        digest = hashlib.sha256(request.body).hexdigest()
        behaviour, applied, reply = self._decide(
            request.key, query.get("script", ["ok"])[0].split(","), told, digest
        )
        if applied and request.key is not None:
            self._raw.execute("INSERT INTO reply VALUES (?, ?, ?)", (request.key, digest, _done(told).text))
        row = (
            now,
            request.key,
            told.get("execution"),
            told.get("node"),
            digest,
            applied,
            behaviour,
            reply.status,
        )
        self._raw.execute(
            "INSERT INTO request (at, key, execution, node, body_hash, applied, behaviour, status) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        return reply

    def _decide(
        self, key: str | None, script: list[str], told: dict[str, object], digest: str
    ) -> tuple[str, bool, Reply]:
        before = self._raw.execute("SELECT body_hash, text FROM reply WHERE key = ?", (key,)).fetchone()
        if before is not None:
            return ("replayed" if before[0] == digest else "conflict"), False, Reply(200, before[1])
        (count,) = self._raw.execute("SELECT count(*) FROM request WHERE key = ?", (key,)).fetchone()
        word = script[min(count, len(script) - 1)]
        if word == "ok":
            return word, True, _done(told)
        if word in ("drop", "lose"):
            return word, word == "drop", Reply(BROKEN_OFF)
        return word, False, Reply(int(word), json.dumps({"refused": int(word)}))


def _done(told: dict[str, object]) -> Reply:
    return Reply(200, json.dumps({"done": told.get("node"), "value": told.get("value")}))


def read(path: Path) -> list[Effect]:
    """The rows of a sink's file."""
    book = Book(path)
    try:
        return book.effects()
    finally:
        book.close()


class Server:
    """Serves a book on loopback."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._waiting: asyncio.Queue[tuple[Request, asyncio.Future[Reply]]] = asyncio.Queue()

    async def serve(self, port: int) -> None:
        server = await asyncio.start_server(self._converse, "127.0.0.1", port, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await self._keep_book()

    async def _keep_book(self) -> None:
        while True:
            taken = [await self._waiting.get()]
            while not self._waiting.empty():
                taken.append(self._waiting.get_nowait())
            replies = self._book.write([request for request, _ in taken], time.time_ns() // 1_000_000)
            for (_, future), reply in zip(taken, replies, strict=True):
                if not future.done():
                    future.set_result(reply)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while (request := await _read(reader)) is not None:
                future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
                self._waiting.put_nowait((request, future))
                reply = await future
                delay = parse_qs(urlsplit(request.target).query).get("delay")
                if delay:
                    await asyncio.sleep(float(delay[0]))
                if reply.status == BROKEN_OFF:
                    break
                writer.write(_wire(reply))
                await writer.drain()
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """One request, or None at the end of a connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers.get("idempotency-key"), body)


def _wire(reply: Reply) -> bytes:
    body = reply.text.encode()
    after = "Retry-After: 0\r\n" if reply.status == 429 else ""
    head = f"HTTP/1.1 {reply.status} X\r\n{after}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


if __name__ == "__main__":
    asyncio.run(Server(Book(Path(sys.argv[1]))).serve(int(sys.argv[2]) if len(sys.argv) > 2 else 0))
