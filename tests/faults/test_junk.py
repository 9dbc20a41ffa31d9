"""Whoever can write to the broker writes whatever they like: no worker runs code of theirs, dies of it, or forgets its work."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import kombu
import pytest

from engine.broker import make_app
from engine.canvas import TASK
from tests.builders import Process, document, is_ready, wait_until
from tests.faults.conftest import Site

pytestmark = pytest.mark.timeout(120)

QUEUE = "only-junk"


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self._path,)


@pytest.fixture(scope="module")
def workers(site: Site) -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for each in made:
        with suppress(ProcessLookupError):
            each.kill()


@pytest.fixture
def worker(site: Site, workers: list[Process]) -> Process:
    """One that lives; where the one before did not get over something, another one with an empty queue."""
    if not workers or workers[-1].code is not None:
        site.valkey.client.delete(QUEUE)
        workers.append(site.worker(f"junk-{len(workers)}", QUEUE))
    wait_until(lambda: is_ready(workers[-1]), 60, "a worker")
    return workers[-1]


def message(args: Any, *, task: Any = TASK, **more: Any) -> bytes:
    """What lies in a queue, as the transport writes it."""
    body = base64.b64encode(json.dumps(args).encode()).decode()
    envelope: dict[str, Any] = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": task, "id": "junk", "lang": "py", "argsrepr": "", "root_id": None},
        "properties": {
            "correlation_id": "junk",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "junk",
        },
    }
    return json.dumps({**envelope, **more}).encode()


EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
DEEP = "[" * 5_000 + "]" * 5_000
JUNK: dict[str, bytes] = {
    "no json": b"\xff\xfe no message at all",
    "empty": b"",
    "a number": b"7",
    "a list": b"[]",
    "null": b"null",
    "no fields": b"{}",
    "no properties": json.dumps({"body": "x", "headers": {}}).encode(),
    "deep": DEEP.encode(),
    "another task": message([[["exec_1", 0, ""]]], task="os.system"),
    "no task": message([[], {}, EMBED], task=None),
    "task is a list": message([[], {}, EMBED], task=["x"]),
    "no arguments": message([[], {}, EMBED]),
    "arguments are a text": message("hello"),
    "references are a number": message([[7], {}, EMBED]),
    "references are null": message([[None], {}, EMBED]),
    "a reference is empty": message([[[[]]], {}, EMBED]),
    "a reference is too long": message([[[["exec_1", 0, "", 1, 2]]], {}, EMBED]),
    "a segment is a text": message([[[["exec_1", "x'; DROP TABLE segment; --", ""]]], {}, EMBED]),
    "a segment is huge": message([[[["exec_1", 10**30, ""]]], {}, EMBED]),
    "a segment is not whole": message([[[["exec_1", 0.5, ""]]], {}, EMBED]),
    "an execution is a number": message([[[[1, 0, ""]]], {}, EMBED]),
    "an execution has a null byte": message([[[["exec_\0", 0, ""]]], {}, EMBED]),
    "an item is an object": message([[[["exec_1", 0, {"a": 1}]]], {}, EMBED]),
    "lone surrogates": message([[[["exec_\ud800", 0, ""]]], {}, EMBED]),
    "a million references": message([[[["exec_1", 0, ""]] * 20_000], {}, EMBED]),
    "unknown keywords": message([[[]], {"shell": "rm"}, EMBED]),
    "a body that is no base64": message([], body="%%%"),
    "no content type": message([[], {}, EMBED], **{"content-type": None}),
    "a foreign content type": message([[], {}, EMBED], **{"content-type": "application/x-yaml"}),
    "a foreign encoding": message([[], {}, EMBED], **{"content-encoding": "rot13"}),
    "an eta in the far future": message(
        [[[]], {}, EMBED], headers={"task": TASK, "id": "j", "eta": "9999-99-99"}
    ),
    "compression": message(
        [[], {}, EMBED], headers={"task": TASK, "id": "j", "compression": "application/x-gzip"}
    ),
}


@pytest.mark.parametrize("name", JUNK)
def test_what_is_no_message_of_ours_costs_a_worker_nothing(site: Site, worker: Process, name: str) -> None:
    site.valkey.client.lpush(QUEUE, JUNK[name])
    works(site, worker)


def test_no_pickle_is_opened(site: Site, worker: Process, tmp_path: Path) -> None:
    path = tmp_path / "opened"
    app = make_app(site.settings)
    body = pickle.dumps(([Bomb(path)], {}, EMBED))
    pickle.loads(body)  # noqa: S301  made here
    assert path.exists(), "the bomb works"
    path.unlink()
    with app.connection_for_write() as connection:
        producer: Any = kombu.Producer(connection.default_channel)
        for kind in ("application/x-python-serialize", "application/json"):
            producer.publish(
                body,
                content_type=kind,
                content_encoding="binary",
                exchange="",
                routing_key=QUEUE,
                headers={"task": TASK, "id": "junk"},
            )
    works(site, worker)
    assert not path.exists()


def works(site: Site, worker: Process) -> None:
    """Whether real work that is sent behind is done, by the same process."""
    active = site.push(document([site.call("effect")], queue=QUEUE), "behind-junk")
    execution = site.start(active)
    wait_until(
        lambda: worker.code is not None or site.client.status(execution) == "succeeded",
        20,
        "the end of what came behind",
    )
    assert worker.code is None, worker.said()[-3000:]
    assert site.applied(execution, "effect") == 1
