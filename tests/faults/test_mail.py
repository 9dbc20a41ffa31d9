"""A worker is killed while it takes mail in: each message starts one execution all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import servers
from tests.builders import (
    Client,
    Process,
    celery_worker,
    document,
    environment,
    is_ready,
    node,
    prepared,
    wait_until,
)
from tests.imap import Imap, message

COUNT = "SELECT count(*) FROM execution"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("place", ["mail.read", "mail.taken", "commit.after"])
def test_a_worker_that_dies_at_the_mail_is_followed_and_nothing_is_lost_or_doubled(
    place: str, imap: Imap, valkey: servers.Valkey, tmp_path: Path
) -> None:
    around = environment(tmp_path, valkey.url)
    client = Client(prepared(around))
    workers: list[Process] = []

    def worker(name: str, **more: str) -> Process:
        workers.append(celery_worker({**around, **more}, tmp_path / f"{name}.log", name=name))
        return workers[-1]

    try:
        box = imap.mailbox()
        client.keep("inbox", "imap", imap.values)
        trigger = {"type": "email", "config": {"mailbox": box.name, "every": "1s", "existing": True}}
        box.put(message("one"), message("two"), message("three"))
        said = node("said", "transform", {"expression": "email.subject"})
        client.push(document([said], name="post", trigger=trigger))
        victim = worker(
            "victim",
            CELERIAC_TEST="1",
            CELERIAC_FAILPOINTS=f"{place}=kill@{3 if place == 'commit.after' else 1}",
        )
        wait_until(lambda: victim.code is not None, 40, "the death")
        heir = worker("heir")
        wait_until(lambda: is_ready(heir), 40, "the other worker")
        wait_until(lambda: client.query(COUNT)[0][0] == 3, 40, "an execution for each message")
        box.put(message("four"))
        wait_until(lambda: client.query(COUNT)[0][0] == 4, 40, "one for the message that came after")
        client.all_finished()
        assert sorted(client.query("SELECT output FROM execution")) == sorted(
            [(f'{{"said":"{each}"}}',) for each in ("one", "two", "three", "four")]
        )
    finally:
        for each in workers:
            if each.code is None:
                each.end()
        client.close()
