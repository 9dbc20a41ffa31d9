"""A mailbox on a real IMAP server whose messages start executions, each one, whoever dies and however it is numbered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from engine.triggers import mail as triggers
from engine.triggers import schedules
from tests.builders import document, node
from tests.imap import Imap, Mailbox, message
from tests.mail import look, outcomes, postman
from tests.office import Office, office
from worker import mail

SAID = {"expression": "[trigger.type, email.subject, email.from]"}


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as made:
        yield made


@pytest.fixture
def box(imap: Imap, at: Office) -> Mailbox:
    at.keep("inbox", "imap", imap.values)
    return imap.mailbox()


class Death(BaseException):
    """A process is gone: nothing in it goes on."""


def triggered(at: Office, box: Mailbox, **config: Any) -> None:
    trigger = {"type": "email", "config": {"mailbox": box.name, **config}}
    at.bench.push(document([node("said", "transform", SAID)], name="post", trigger=trigger))


def subjects(at: Office) -> list[str]:
    return sorted(each["said"][1] for each in outcomes(at))


async def test_each_message_that_comes_starts_one_execution(at: Office, box: Mailbox) -> None:
    box.put(message("old"))
    triggered(at, box)
    await look(at)
    box.put(message("one"), message("two"))
    for _ in range(3):
        await look(at)
    assert outcomes(at) == [{"said": ["email", each, "grace@example.com"]} for each in ("one", "two")]


async def test_what_is_there_already_counts_where_that_is_wanted(at: Office, box: Mailbox) -> None:
    box.put(*(message(str(number)) for number in range(3)))
    triggered(at, box, existing=True)
    await look(at, 1)
    assert subjects(at) == ["0", "1", "2"]


async def test_more_than_one_look_takes_are_taken_by_the_next_one_at_once(
    at: Office, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "BATCH", 2)
    box.put(*(message(str(number)) for number in range(5)))
    triggered(at, box, existing=True)
    for _ in range(3):
        await look(at, 0.001)
    assert subjects(at) == ["0", "1", "2", "3", "4"]


async def test_a_mailbox_that_is_numbered_anew_starts_nothing_twice_and_loses_nothing(
    at: Office, box: Mailbox
) -> None:
    at.bench.clock.ms = round(time.time() * 1000)  # the server has no other
    first = message("first")
    triggered(at, box)
    await look(at)
    box.put(first)
    await look(at)
    box.begin()
    box.put(first, message("second"))
    await look(at)
    assert subjects(at) == ["first", "second"]


@pytest.mark.parametrize(("place", "seen"), [("mail.read", 0), ("mail.taken", 2)])
async def test_who_dies_at_any_moment_is_followed_by_another_and_nothing_is_doubled(
    place: str, seen: int, at: Office, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    triggered(at, box)
    await look(at)
    box.put(message("one"), message("two"))

    def die(name: str) -> None:
        if name == place:
            raise Death

    with monkeypatch.context() as dying:
        dying.setattr(mail, "failpoint", die)
        at.bench.clock.move(61)
        with pytest.raises(Death):
            await postman(at).round()
    assert len(at.bench.query("SELECT id FROM execution")) == seen
    await look(at, 1)
    assert len(at.bench.query("SELECT id FROM execution")) == seen, "the claim still holds"
    at.bench.poller().tick()
    for _ in range(3):
        await look(at, 300)
        at.bench.poller().tick()
        await at.bench.carry()
    assert subjects(at) == ["one", "two"]


async def test_of_two_who_look_at_once_one_does(at: Office, box: Mailbox) -> None:
    triggered(at, box)
    await look(at)
    box.put(message("one"))
    at.bench.clock.move(61)
    one, other = postman(at), postman(at)
    await asyncio.gather(one.round(), other.round())
    await at.bench.carry()
    assert subjects(at) == ["one"]


async def test_a_look_that_fails_is_written_down_and_tried_again(at: Office, box: Mailbox) -> None:
    triggered(at, box, connection="nothing")
    await look(at)
    ((schedule,),) = at.bench.query("SELECT id FROM schedule")
    said: Any
    (said,) = schedules.arrivals(at.bench.connection, schedule, 5)
    assert (said["status"], said["error"]["code"]) == ("failed", "connection.unknown")
    triggered(at, box)
    await look(at)
    box.put(message("one"))
    await look(at)
    assert subjects(at) == ["one"]


async def test_a_new_version_goes_on_where_the_old_one_was_and_another_mailbox_begins(
    at: Office, box: Mailbox, imap: Imap
) -> None:
    triggered(at, box)
    await look(at)
    box.put(message("between"))
    triggered(at, box, every="5m")
    await look(at)
    assert subjects(at) == ["between"]
    other = imap.mailbox()
    other.put(message("there before"))
    triggered(at, other)
    await look(at)
    other.put(message("after"))
    await look(at)
    assert subjects(at) == ["after", "between"]


async def test_a_paused_trigger_takes_nothing_and_begins_anew_when_it_goes_on(
    at: Office, box: Mailbox
) -> None:
    triggered(at, box)
    await look(at)
    ((name,),) = at.bench.query("SELECT id FROM schedule")
    at.bench.ask(schedules.pause(name, "", at.bench.clock.now()))
    box.put(message("in the pause"))
    await look(at)
    at.bench.ask(schedules.resume(name, at.bench.clock.now()))
    await look(at)
    box.put(message("after"))
    await look(at)
    assert subjects(at) == ["after"]
    assert schedules.show(at.bench.connection, name)["kind"] == "email"
    with pytest.raises(schedules.ScheduleOfAbsence):
        schedules.find(at.bench.connection, cast("Any", None), name)
