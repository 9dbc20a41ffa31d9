"""Submits over HTTP, with connections that stay open: `POST /api/v1/workflows/{name}/execute`, and the result in the answer.

The client is a bare one, for it shares two processors with what it measures.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from bench.protocol import PATIENCE, Order, Report, serve
from bench.shapes import SHAPES

URL, TOKEN = "BENCH_API_URL", "BENCH_API_TOKEN"
CLIENTS = 16
_BREATH = 0.005
"""Seconds between executions that are measured one by one, so that each finds an idle stack."""


class WrongAnswer(Exception):
    """The API answered something else than it has to."""


class Client:
    """One connection to the API."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def connect(cls) -> Client:
        """Open a connection to the API that the environment names."""
        host = urlsplit(os.environ[URL]).netloc
        name, _, port = host.partition(":")
        reader, writer = await asyncio.open_connection(name, int(port))
        return cls(reader, writer, host)

    async def post(self, path: str, body: Any, prefer: str = "") -> Any:
        """Send a body and return that of the answer. Raises `WrongAnswer` with that of a refusal."""
        content = json.dumps(body).encode()
        head = (
            f"POST /api/v1/{path} HTTP/1.1\r\n"
            f"Host: {self._host}\r\n"
            f"Authorization: Bearer {os.environ[TOKEN]}\r\n"
            "Content-Type: application/json\r\n"
            f"Prefer: {prefer}\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.casefold(): value for name, _, value in (each.partition(": ") for each in lines)}
        answer = await self._reader.readexactly(int(headers["content-length"]))
        if not status.startswith("HTTP/1.1 2"):
            message = f"{status}: {answer.decode()}"
            raise WrongAnswer(message)
        return json.loads(answer)

    async def execute(self, shape: str, number: int) -> None:
        """Start an execution and wait for its result."""
        path = f"workflows/{shape}/execute"
        content = await self.post(path, {"input": {"number": number}}, "wait=30")
        (value,) = content["output"].values() if content["status"] == "succeeded" else (content,)
        expected = SHAPES[shape].result()
        if content["status"] != "succeeded" or (expected is not None and value["x"] != expected):
            message = f"An execution of {shape} came to {value}, not {expected}."
            raise WrongAnswer(message)

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()


async def push(shape: str) -> Report:
    """Save the definition of a shape."""
    client = await Client.connect()
    answer = await client.post("workflows", SHAPES[shape].document())
    await client.close()
    return {"workflow": answer["id"]}


async def serial(shape: str, count: int) -> Report:
    """Run one after the other, each submitted to an idle stack."""
    client = await Client.connect()
    latencies = []
    for number in range(count):
        await asyncio.sleep(_BREATH)
        begun = time.perf_counter()
        await client.execute(shape, number)
        latencies.append((time.perf_counter() - begun) * 1000)
    await client.close()
    return {"seconds": sum(latencies) / 1000, "latencies": latencies}


async def clients(shape: str, count: int) -> Report:
    """Let several clients each start its next execution when it has the result of the one before."""
    crowd = [await Client.connect() for _ in range(CLIENTS)]
    numbers = iter(range(count))
    latencies: list[float] = []

    async def work(client: Client) -> None:
        for number in numbers:
            begun = time.perf_counter()
            await client.execute(shape, number)
            latencies.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    async with asyncio.timeout(PATIENCE - 10), asyncio.TaskGroup() as group:
        for each in crowd:
            group.create_task(work(each))
    seconds = time.perf_counter() - begun
    for each in crowd:
        await each.close()
    return {"seconds": seconds, "latencies": latencies}


def handle(order: Order) -> Report:
    """Do what is asked: `push` a shape, run one in a `serial` way, or with several `clients`."""
    ways: dict[str, Callable[..., Coroutine[Any, Any, Report]]] = {
        "push": push,
        "serial": serial,
        "clients": clients,
    }
    return asyncio.run(ways[order.pop("do")](**order))


if __name__ == "__main__":
    serve(handle)
