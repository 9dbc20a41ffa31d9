"""`python3 -m bench.webhooks [--deliveries N] [--clients N] [--runs N] [--stack sqlite|postgresql]`.

How many deliveries a second are accepted durably, each verified and counted once, beside a bare FastAPI application that
only answers; both in turn, in the same run. And how long it takes then until all that was started has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import signal
import socket
import statistics
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

from bench import api_driver
from bench.stacks import STACKS, environment, servers
from celeriac import Json
from engine.settings import from_environment
from engine.store import schema
from engine.store.database import open_database
from tests.servers import Den

_BODY = json.dumps({"order": 4711, "lines": [{"price": 3}] * 5}).encode()


async def load(url: str, count: int, clients: int, run: int, secret: str) -> tuple[float, list[float]]:
    """Deliver, with connections that stay open. Returns the seconds, and the milliseconds of each."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    numbers = iter(range(count))
    latencies: list[float] = []
    signature = hmac.new(secret.encode(), _BODY, hashlib.sha256).hexdigest()

    async def work() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for number in numbers:
            head = (
                f"POST {urlsplit(url).path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
                f"X-Webhook-Signature: sha256={signature}\r\nX-Webhook-Id: {run}-{number}\r\n"
                f"Content-Length: {len(_BODY)}\r\n\r\n"
            )
            begun = time.perf_counter()
            writer.write(head.encode() + _BODY)
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            length = next(line for line in lines if line.lower().startswith("content-length"))
            answer = await reader.readexactly(int(length.partition(":")[2]))
            if " 202 " not in status:
                message = f"{status}: {answer.decode()}"
                raise api_driver.WrongAnswer(message)
            latencies.append((time.perf_counter() - begun) * 1000)
        writer.close()

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(work())
    return time.perf_counter() - begun, latencies


def main(arguments: Sequence[str]) -> int:
    """Measure one stack and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.webhooks")
    parser.add_argument("--deliveries", type=int, default=2_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stack", choices=STACKS, default="sqlite")
    given = parser.parse_args(arguments)
    with ExitStack() as ending:
        found = ending.enter_context(servers(given.stack))
        den = Den()
        ending.callback(den.clear)
        around = environment(den.folder, found)
        settings = from_environment(around)
        schema.migrate(settings, time.time_ns() // 1_000_000)
        worker = [
            "celery",
            "-A",
            "worker",
            "worker",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            bare = f"http://127.0.0.1:{probe.getsockname()[1]}/webhooks/bare"
        for words in (
            ["celeriac", "api"],
            [*worker, "-l", "WARNING", "-Q", "default"],
            ["bench.bare", str(urlsplit(bare).port)],
        ):
            den.start([sys.executable, "-m", *words], quits_on=signal.SIGTERM, environment=around)
        url, secret = _hook(around)
        _await(bare)
        ours, theirs, tails, last = [], [], [], []
        for run in range(given.runs):
            seconds, latencies = asyncio.run(load(url, given.deliveries, given.clients, run, secret))
            ended = time.perf_counter()
            ours.append(given.deliveries / seconds)
            tails.append(sorted(latencies)[int(len(latencies) * 0.99)])
            connection = open_database(settings).connect()
            while connection.run("SELECT 1 FROM execution WHERE finished_at IS NULL LIMIT 1"):
                time.sleep(0.02)
            connection.close()
            last.append(time.perf_counter() - ended)
            seconds, _ = asyncio.run(load(bare, given.deliveries, given.clients, run, secret))
            theirs.append(given.deliveries / seconds)
        body: dict[str, Json] = {
            "stack": given.stack,
            "accepted_per_second": round(statistics.median(ours)),
            "p99_ms": round(statistics.median(tails), 1),
            "all_ended_after_s": round(statistics.median(last), 2),
            "bare_fastapi_per_second": round(statistics.median(theirs)),
            "share_of_bare": round(statistics.median(ours) / statistics.median(theirs), 2),
            "load": round(os.getloadavg()[0], 1),
        }
        print(json.dumps(body))
    return 0


def _hook(around: dict[str, str]) -> tuple[str, str]:
    """Save a workflow with a webhook; return its address and its secret."""
    api = around[api_driver.URL]
    _await(f"{api}/readyz")
    trigger = {"type": "webhook", "config": {"path": "/orders"}}
    document = {"name": "orders", "definition": {"trigger": trigger, "nodes": [{"id": "a", "type": "noop"}]}}
    headers = {"Authorization": f"Bearer {around[api_driver.TOKEN]}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{api}/api/v1/workflows", json.dumps(document).encode(), headers)  # noqa: S310  ours
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310  ours
        (issued,) = json.load(answer)["webhooks"]
    return str(issued["url"]), str(issued["secret"])


def _await(url: str) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        with suppress(OSError):
            try:
                urllib.request.urlopen(url, timeout=1).close()  # noqa: S310  ours
            except urllib.error.HTTPError as error:
                if error.code == 405:
                    return
                raise
            return
        time.sleep(0.05)
    message = f"Nobody answers at {url}."
    raise SystemExit(message)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
