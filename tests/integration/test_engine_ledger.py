"""The pen and the ledger against both real databases: who wins, who is refused, and what a lost answer comes to."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from engine import catalog
from engine import operations as op
from engine.dispatch import Room
from engine.errors import SchemaMissing, SchemaTooNew, Unavailable
from engine.ids import encode
from engine.ledger import Ledger
from engine.plan import Plan
from engine.programs import Programs
from engine.registry import Registry
from engine.settings import Settings
from engine.store import schema
from engine.store.database import Connection, Database, Verdict, open_database
from engine.transitions import Rules
from tests.builders import document, edge, edges, node

REGISTRY = Registry.load(["nodes", "tests.nodes"])
LEASE, GRACE = 2_000, 500
CALL = {"method": "POST", "url": "http://127.0.0.1:1", "idempotent": True}

CHAIN = document(
    [node("a", "http_request", CALL), node("b", "log", {"message": "x"})], edges("a->b"), "chain"
)
PURE = document([node("a"), node("b")], edges("a->b"), "pure")
DIAMOND = document([node(each) for each in "abcd"], edges("a->b->d", "a->c->d"), "diamond")


class Hand:
    """A clock that a test moves, with ids and draws of its own."""

    def __init__(self, writer: str) -> None:
        self.time = 1_800_000_000_000
        self._random = random.Random(writer)

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.time / 1000

    def entropy(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def mint(self, prefix: str) -> str:
        return encode(prefix, self.time, self.entropy(10))


class Desk:
    """One writer: a ledger that is stepped by hand, and the operations of a worker."""

    def __init__(self, settings: Settings, writer: str = "w1", database: Database | None = None) -> None:
        self.name = writer
        self.clock = Hand(writer)
        self.database = database or open_database(settings)
        self.programs = Programs(REGISTRY)
        rules = Rules(self.programs.plan, GRACE, Room(64))
        self.ledger = Ledger(self.database, rules, writer, self.clock, pause=lambda _: None)
        self.reading = open_database(settings).connect()

    def close(self) -> None:
        self.ledger.close()
        self.reading.close()

    def do(self, *work: Any) -> list[Any]:
        """Do one batch; raise the first failure."""
        answers = self.ledger.step(work)
        for each in answers:
            if isinstance(each, BaseException):
                raise each
        return answers

    def push(self, body: dict[str, Any]) -> catalog.Active:
        (pushed,) = self.do(catalog.push(body, REGISTRY, self.clock))
        return catalog.active(self.reading, pushed.workflow)

    def start(self, active: catalog.Active, key: str | None = None, digest: str = "same") -> op.Started:
        (started,) = self.do(self.wish(active, key, digest))
        assert isinstance(started, op.Started)
        return started

    def wish(self, active: catalog.Active, key: str | None = None, digest: str = "same") -> op.Start:
        return op.Start(
            execution=self.clock.mint("exec"),
            project=active.project,
            workflow=active.workflow,
            version=active.version,
            queue=active.queue,
            now=self.clock.now(),
            input=op.Payload("{}"),
            trigger="{}",
            idempotency_key=key,
            request_hash=digest,
        )

    def claim(self, execution: str, segment: int = 0) -> op.Claimed | None:
        now = self.clock.now()
        (claimed,) = self.do(op.Claim(execution, segment, "", self.name, now, now + LEASE))
        assert claimed is None or isinstance(claimed, op.Claimed)
        return claimed

    def settle(self, execution: str, segment: int = 0, epoch: int = 0, **more: Any) -> op.Settled | None:
        (settled,) = self.do(self.end(execution, segment, epoch, **more))
        assert settled is None or isinstance(settled, op.Settled)
        return settled

    def end(
        self, execution: str, segment: int = 0, epoch: int = 0, *, without: str = "", **more: Any
    ) -> op.Settle:
        """The end of a segment with all its exits taken, but those that lead to the node `without`."""
        plan = self.plan(execution)
        targets = [plan.segments[each.target].nodes[0].id for each in plan.segments[segment].exits]
        given: dict[str, Any] = {
            "execution": execution,
            "segment": segment,
            "item": "",
            "epoch": epoch,
            "pure": epoch == 0,
            "now": self.clock.now(),
            "taken": tuple(each != without for each in targets),
            "owner": self.name,
            "lease": LEASE,
            "inline": False,
            "events": (("node.succeeded", plan.segments[segment].nodes[-1].id, 1, {}),),
        }
        return op.Settle(**{**given, **more})

    def lose(self, execution: str, epoch: int, segment: int = 0, limit: int = 3) -> list[op.Sendable]:
        (ready,) = self.do(op.Lose(execution, ((segment, "", epoch),), self.clock.now(), "It died.", limit))
        assert isinstance(ready, list)
        return ready

    def plan(self, execution: str) -> Plan:
        (version,) = self.row("SELECT version_id FROM execution WHERE id = ?", execution)
        return self.programs.plan(version, self.reading)

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.reading.run(sql, parameters)

    def row(self, sql: str, *parameters: Any) -> tuple[Any, ...]:
        return self.rows(sql, *parameters)[0]

    def status(self, execution: str) -> str:
        found: str = self.row("SELECT status FROM execution WHERE id = ?", execution)[0]
        return found

    def segments(self, execution: str) -> dict[int, str]:
        return dict(self.rows("SELECT segment, status FROM segment WHERE execution_id = ?", execution))

    def gapless(self, execution: str) -> bool:
        following = 1
        for seq, count in self.rows(
            "SELECT seq, count FROM event WHERE execution_id = ? ORDER BY seq", execution
        ):
            if seq != following:
                return False
            following = seq + count
        return bool(self.row("SELECT seq FROM execution WHERE id = ?", execution)[0] == following - 1)


@pytest.fixture
def desks(store: Settings) -> Iterator[Callable[..., Desk]]:
    """Writers on the same database, each with a name."""
    with ExitStack() as stack:

        def make(writer: str = "w1", database: Database | None = None) -> Desk:
            desk = Desk(store, writer, database)
            stack.callback(desk.close)
            return desk

        yield make


@pytest.fixture
def desk(desks: Callable[..., Desk]) -> Desk:
    return desks()


# --- Accepting ----------------------------------------------------------------------------------------------

ODD = (
    '"',
    "\\",
    '\\"',
    "{a,b}",
    "NULL",
    "null",
    "",
    " ",
    "a\nb\tc",
    "'",
    "%s ?",
    "\x01",
    "é\u2028😀",
    '["n",{"x":"\\\\"}]',
)
"""Texts that mean something to one of the forms a batch takes on its way."""


@pytest.mark.parametrize("text", ODD)
def test_whatever_a_text_holds_is_stored_as_it_is(desk: Desk, text: str) -> None:
    execution = desk.start(desk.push(PURE)).execution
    entries = (op.Entry("a", "succeeded", output=op.Payload(text)), op.Entry("b", "succeeded"))
    assert desk.settle(execution, entries=entries, output=op.Payload(text)) is not None
    rows = desk.rows("SELECT output FROM journal WHERE execution_id = ? ORDER BY node", execution)
    assert rows == [(text,), (None,)]
    assert desk.row("SELECT output FROM execution WHERE id = ?", execution) == (text,)


def test_a_start_with_a_known_key_answers_with_the_first_execution(desk: Desk) -> None:
    active = desk.push(CHAIN)
    first = desk.start(active, "order-1")
    again = desk.start(active, "order-1")
    assert (first.new, again.new, again.same) == (True, False, True)
    assert again.execution == first.execution
    assert len(desk.rows("SELECT id FROM execution")) == 1


def test_a_known_key_with_another_request_says_so(desk: Desk) -> None:
    active = desk.push(CHAIN)
    first = desk.start(active, "order-1", "one body")
    other = desk.start(active, "order-1", "another body")
    assert (other.execution, other.new, other.same) == (first.execution, False, False)


def test_one_key_twice_in_one_batch_starts_one_execution(desk: Desk) -> None:
    active = desk.push(CHAIN)
    wishes = [desk.wish(active, "order-1"), desk.wish(active), desk.wish(active, "order-1")]
    answers = desk.do(*wishes)
    assert [each.new for each in answers] == [True, True, False]
    assert answers[0].execution == answers[2].execution
    assert len(desk.rows("SELECT id FROM execution")) == 2


def test_the_same_keys_from_several_writers_at_once_start_each_one_once(desks: Callable[..., Desk]) -> None:
    writers = [desks(f"w{index}") for index in range(4)]
    active = writers[0].push(CHAIN)

    def knock(desk: Desk) -> list[op.Started]:
        return [desk.start(active, f"key-{index}") for index in range(25)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(knock, writers))
    for of_key in zip(*answers, strict=True):
        assert len({each.execution for each in of_key}) == 1
        assert sum(each.new for each in of_key) == 1
    assert len(writers[0].rows("SELECT id FROM execution")) == 25


# --- Claims and fences --------------------------------------------------------------------------------------


def test_of_two_writers_that_claim_one_wins(desks: Callable[..., Desk]) -> None:
    one, two = desks("w1"), desks("w2")
    execution = one.start(one.push(CHAIN)).execution
    first, second = one.claim(execution), two.claim(execution)
    assert first is not None
    assert first.epoch == 1
    assert second is None
    assert one.row("SELECT owner, status FROM segment") == ("w1", "running")


def test_of_many_writers_that_claim_at_once_each_segment_has_one(desks: Callable[..., Desk]) -> None:
    writers = [desks(f"w{index}") for index in range(4)]
    active = writers[0].push(CHAIN)
    executions = [writers[0].start(active).execution for _ in range(20)]
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda desk: [desk.claim(each) is not None for each in executions], writers))
    assert [sum(column) for column in zip(*won, strict=True)] == [1] * 20


def overtaken(one: Desk, two: Desk) -> tuple[str, int, int]:
    """An execution whose segment `one` has lost and `two` has taken; with both fences."""
    execution = one.start(one.push(CHAIN)).execution
    zombie = one.claim(execution)
    assert zombie is not None
    assert two.lose(execution, zombie.epoch) == [(0, "", "default")]
    current = two.claim(execution)
    assert current is not None
    return execution, zombie.epoch, current.epoch


def held(execution: str, epoch: int, now: int) -> dict[str, Any]:
    return {
        "execution": execution,
        "segment": 0,
        "item": "",
        "epoch": epoch,
        "pure": False,
        "now": now,
        "entries": (op.Entry("a", "succeeded", "keyed", output=op.Payload('"of the zombie"')),),
        "events": (("node.succeeded", "a", now, {}),),
    }


@pytest.mark.parametrize("kind", ["record", "settle", "suspend", "doubt", "release", "renew", "lose"])
def test_whoever_lost_a_claim_can_write_nothing(desks: Callable[..., Desk], kind: str) -> None:
    one, two = desks("w1"), desks("w2")
    execution, old, new = overtaken(one, two)
    before = (
        one.rows("SELECT * FROM segment"),
        one.rows("SELECT * FROM event"),
        one.rows("SELECT * FROM execution"),
    )
    now = one.clock.now()
    zombie = held(execution, old, now)
    operations: dict[str, Any] = {
        "record": op.Record(**zombie),
        "settle": op.Settle(**zombie, taken=(True,)),
        "suspend": op.Suspend(**zombie, due=now + 1),
        "doubt": op.Doubt(**zombie),
        "release": op.Release(**zombie),
        "renew": op.Renew(execution, ((0, "", old),), now, now + LEASE),
        "lose": op.Lose(execution, ((0, "", old),), now, "It died.", 3),
    }
    (answer,) = one.do(operations[kind])
    assert answer in (
        None,
        False,
        op.Recorded.LOST,
        [],
        op.Renewed(frozenset(), cancelling=False, pausing=False),
    )
    after = (
        one.rows("SELECT * FROM segment"),
        one.rows("SELECT * FROM event"),
        one.rows("SELECT * FROM execution"),
    )
    assert before == after
    assert one.rows("SELECT * FROM journal") == []
    assert two.settle(execution, epoch=new) is not None


@pytest.mark.parametrize("kind", [op.Record, op.Suspend, op.Doubt, op.Release])
@pytest.mark.parametrize("zombie_first", [True, False])
def test_an_old_and_a_new_holder_in_one_batch_are_told_apart(
    desks: Callable[..., Desk], kind: type[op.Held], zombie_first: bool
) -> None:
    """A process that slept through its lease may hold the segment twice: the task that overslept, and a new one."""
    one, two = desks("w1"), desks("w2")
    execution, old, new = overtaken(one, two)
    now = one.clock.now()
    zombie = kind(**held(execution, old, now))
    current = kind(**{**held(execution, new, now), "entries": (), "events": ()})
    batch = [zombie, current] if zombie_first else [current, zombie]
    no, yes = (op.Recorded.LOST, op.Recorded.HELD) if kind is op.Record else (False, True)
    assert one.do(*batch) == ([no, yes] if zombie_first else [yes, no])
    assert one.rows("SELECT * FROM journal") == []
    assert one.gapless(execution)


@pytest.mark.parametrize("zombie_first", [True, False])
def test_the_end_of_a_segment_by_an_old_holder_does_not_hide_the_new_one_in_one_batch(
    desks: Callable[..., Desk], zombie_first: bool
) -> None:
    one, two = desks("w1"), desks("w2")
    execution, old, new = overtaken(one, two)
    pair = [one.end(execution, epoch=old), one.end(execution, epoch=new)]
    answers = one.do(*(pair if zombie_first else reversed(pair)))
    assert [each is not None for each in answers] == ([False, True] if zombie_first else [True, False])


def test_of_two_that_performed_a_pure_segment_one_commits(desks: Callable[..., Desk]) -> None:
    one, two = desks("w1"), desks("w2")
    execution = one.start(one.push(DIAMOND)).execution
    assert one.settle(execution) is not None
    assert two.settle(execution) is None
    assert one.segments(execution) == {0: "done", 1: "ready", 2: "ready"}


def test_a_pure_segment_that_somebody_claimed_is_not_ended_by_one_without_a_claim(desk: Desk) -> None:
    execution = desk.start(desk.push(DIAMOND)).execution
    claimed = desk.claim(execution)
    assert claimed is not None
    assert desk.settle(execution) is None
    assert desk.settle(execution, epoch=claimed.epoch, pure=False) is not None


def test_the_same_end_twice_in_one_batch_counts_once(desk: Desk) -> None:
    execution = desk.start(desk.push(DIAMOND)).execution
    answers = desk.do(desk.end(execution), desk.end(execution))
    assert [each is not None for each in answers] == [True, False]
    desk.do(desk.end(execution, 1), desk.end(execution, 1))
    assert desk.row("SELECT status, pending FROM segment WHERE segment = 3") == ("blocked", 1)


# --- Joins --------------------------------------------------------------------------------------------------


def wide(count: int, join: Any = "all") -> dict[str, Any]:
    names = [f"n{index}" for index in range(count)]
    ways = edges(*(f"first->{each}->last" for each in names))
    return document([node("first"), *map(node, names), node("last", join=join)], ways, f"wide-{count}")


@pytest.mark.parametrize("apart", [True, False])
def test_a_join_starts_once_whether_its_predecessors_end_together_or_apart(desk: Desk, apart: bool) -> None:
    execution = desk.start(desk.push(wide(5))).execution
    desk.settle(execution)
    ends = [desk.end(execution, number) for number in range(1, 6)]
    answers = [desk.settle(execution, each.segment) for each in ends] if apart else desk.do(*ends)
    ready = [each for answer in answers if answer for each in answer.ready]
    assert ready == [(6, "", "default")]
    assert desk.settle(execution, 6, output=op.Payload("{}")) is not None
    assert desk.status(execution) == "succeeded"
    assert desk.gapless(execution)


def test_writers_that_race_at_a_join_start_it_once(desks: Callable[..., Desk]) -> None:
    writers = [desks(f"w{index}") for index in range(4)]
    active = writers[0].push(wide(32))
    executions = [writers[0].start(active).execution for _ in range(5)]
    for each in executions:
        writers[0].settle(each)
    work = [(execution, number) for execution in executions for number in range(1, 33)] * 2
    random.Random(7).shuffle(work)
    shares = [work[index::4] for index in range(4)]

    def finish(pair: tuple[Desk, Sequence[tuple[str, int]]]) -> list[op.Sendable]:
        desk, share = pair
        found = []
        for start in range(0, len(share), 5):
            for answer in desk.do(*(desk.end(*each) for each in share[start : start + 5])):
                found += list(answer.ready) if answer else []
        return found

    with ThreadPoolExecutor(4) as pool:
        started = [each for share in pool.map(finish, zip(writers, shares, strict=True)) for each in share]
    assert started == [(33, "", "default")] * 5
    assert writers[0].rows("SELECT pending, taken FROM segment WHERE segment = 33") == [(0, 32)] * 5


def test_an_execution_does_not_end_before_a_branch_its_join_did_not_wait_for(desk: Desk) -> None:
    execution = desk.start(desk.push(wide(2, "any"))).execution
    desk.settle(execution)
    desk.settle(execution, 1)
    plan = desk.plan(execution)
    last = plan.segment_of["last"]
    assert desk.segments(execution)[last] == "ready"
    desk.settle(execution, last)
    assert desk.status(execution) == "running"
    desk.settle(execution, 2)
    assert desk.settle(execution, plan.segment_of["@output"]) is not None
    assert desk.status(execution) == "succeeded"
    assert set(desk.segments(execution).values()) == {"done"}


def test_a_join_that_too_few_reached_is_skipped_with_what_follows(desk: Desk) -> None:
    """Its last arrival is a taken edge, and still it decides a skip: joins behind it must be counted on from their rows."""
    body = document(
        [*(node(each) for each in "abcd"), node("meet", join={"mode": "n", "count": 2}), node("end")],
        [*edges("a->b->end", "a->c->meet", "meet->end"), edge("a", "d"), edge("d", "meet", when="false")],
        "few",
    )
    execution = desk.start(desk.push(body)).execution
    number = desk.plan(execution).segment_of
    desk.settle(execution)
    desk.settle(execution, number["b"])
    desk.settle(execution, number["d"], without="meet")
    desk.settle(execution, number["c"])
    assert desk.segments(execution)[number["end"]] == "ready"


# --- Batches ------------------------------------------------------------------------------------------------


def test_one_bad_operation_costs_the_others_of_its_batch_nothing(desk: Desk) -> None:
    active = desk.push(DIAMOND)
    executions = [desk.start(active).execution for _ in range(9)]
    ends: list[Any] = [desk.end(each) for each in executions]
    unknown = dataclasses.replace(ends[0], execution="exec_unknown")

    def breaks(_: Connection) -> None:
        raise ZeroDivisionError

    answers = desk.ledger.step([*ends[:4], unknown, breaks, *ends[4:]])
    assert answers[4] is None
    assert isinstance(answers[5], ZeroDivisionError)
    assert all(isinstance(each, op.Settled) for index, each in enumerate(answers) if index not in (4, 5))
    assert all(desk.gapless(each) for each in executions)


def test_a_refusal_that_is_told_late_befalls_the_work_that_earned_it(desk: Desk) -> None:
    active = desk.push(PURE)

    def twice(connection: Connection) -> None:
        connection.run("INSERT INTO project (id, name, created_at) VALUES (?, 'again', 0)", (active.project,))

    wishes = [desk.wish(active) for _ in range(5)]
    answers = desk.ledger.step([*wishes[:3], twice, *wishes[3:]])
    assert isinstance(answers[3], Exception)
    assert desk.database.judge(answers[3]) == "own"
    assert all(isinstance(each, op.Started) for index, each in enumerate(answers) if index != 3)
    assert len(desk.rows("SELECT id FROM execution")) == 5


class Flaky:
    """A database whose connection is lost at a commit: after it was carried out, or before."""

    def __init__(self, inner: Database) -> None:
        self.inner = inner
        self.dialect = inner.dialect
        self.breaks: list[str] = []

    def judge(self, error: BaseException) -> Verdict:
        return "lost" if isinstance(error, Gone) else self.inner.judge(error)

    def connect(self) -> Connection:
        if self.breaks[:1] == ["connect"]:
            self.breaks.pop(0)
            raise Gone
        return FlakyConnection(self.inner.connect(), self)


class Gone(Exception):
    """The connection is lost."""


class FlakyConnection:
    def __init__(self, inner: Connection, flaky: Flaky) -> None:
        self._inner = inner
        self._flaky = flaky

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def commit(self) -> None:
        how = self._flaky.breaks.pop(0) if self._flaky.breaks else ""
        if how != "before":
            self._inner.commit()
        if how:
            raise Gone


@pytest.mark.parametrize(
    "breaks", [["after"], ["before"], ["after", "connect"], ["before", "before", "after"]]
)
def test_a_lost_acknowledgement_is_answered_by_looking_and_nothing_happens_twice(
    desks: Callable[..., Desk], store: Settings, breaks: list[str]
) -> None:
    flaky = Flaky(open_database(store))
    desk = desks("w1", flaky)
    active = desk.push(DIAMOND)
    flaky.breaks = list(breaks)
    started = desk.start(active, "order-1")
    assert started.new
    assert len(desk.rows("SELECT id FROM execution")) == 1
    flaky.breaks = list(breaks)
    settled = desk.settle(started.execution)
    assert settled is not None
    assert [each[0] for each in settled.ready] == [1, 2]
    assert desk.segments(started.execution) == {0: "done", 1: "ready", 2: "ready"}
    assert desk.gapless(started.execution)


def test_a_database_that_does_not_come_back_is_unavailable_and_nothing_is_written(
    desks: Callable[..., Desk], store: Settings
) -> None:
    flaky = Flaky(open_database(store))
    desk = desks("w1", flaky)
    active = desk.push(DIAMOND)
    flaky.breaks = ["before"] * 8
    (answer,) = desk.ledger.step([desk.wish(active)])
    assert isinstance(answer, Unavailable)
    assert desk.rows("SELECT id FROM execution") == []
    assert desk.start(active).new


# --- Rests, losses, people ----------------------------------------------------------------------------------


def test_a_rest_ends_when_its_time_has_come_and_once(desks: Callable[..., Desk]) -> None:
    one, two = desks("w1"), desks("w2")
    execution = one.start(one.push(PURE)).execution
    now = one.clock.now()
    rest = op.Suspend(execution, 0, "", 0, pure=True, now=now, due=now + 100, head=1)
    assert one.do(rest) == [True]
    assert one.status(execution) == "waiting"
    wake = op.Wake(execution, ((0, ""),), now + 99)
    assert one.do(wake) == [[]]
    later = dataclasses.replace(wake, now=now + 100)
    assert [one.do(later), two.do(later)] == [[[(0, "", "default")]], [[]]]
    assert one.status(execution) == "running"
    assert one.row("SELECT status, head FROM segment") == ("ready", 1)


def test_a_segment_lost_too_often_is_put_aside_with_its_reason_and_a_person_brings_it_back(
    desk: Desk,
) -> None:
    execution = desk.start(desk.push(CHAIN)).execution
    for time in range(4):
        claimed = desk.claim(execution)
        assert claimed is not None
        assert (claimed.epoch, claimed.deliveries) == (time + 1, time)
        desk.lose(execution, claimed.epoch)
    assert desk.row("SELECT status, reason, due FROM segment") == ("quarantined", "It died.", None)
    assert desk.claim(execution) is None
    assert desk.status(execution) == "waiting"
    resolve = op.Resolve(execution, 0, "", "retry", desk.clock.now(), "someone")
    assert desk.do(resolve) == [[(0, "", "default")]]
    assert desk.do(resolve) == [None]
    claimed = desk.claim(execution)
    assert claimed is not None
    assert (claimed.epoch, claimed.deliveries) == (5, 0)


def test_of_two_pollers_that_send_again_one_does(desks: Callable[..., Desk]) -> None:
    one, two = desks("w1"), desks("w2")
    execution = one.start(one.push(CHAIN)).execution
    (due,) = one.row("SELECT due FROM segment")
    resend = op.Resend(execution, ((0, "", due),), due + GRACE)
    assert [one.do(resend), two.do(resend)] == [[[(0, "", "default")]], [[]]]


@pytest.mark.parametrize(("body", "deliveries"), [(CHAIN, 0), (PURE, 2)])
def test_a_lost_message_counts_against_a_segment_that_nobody_has_to_claim_and_against_no_other(
    desk: Desk, body: dict[str, Any], deliveries: int
) -> None:
    execution = desk.start(desk.push(body)).execution
    for _ in range(5):
        (due,) = desk.row("SELECT due FROM segment")
        desk.do(op.Resend(execution, ((0, "", due),), due + GRACE, lost=True))
    assert desk.row("SELECT status, deliveries FROM segment") == ("ready", deliveries)


def test_a_paused_execution_gives_out_nothing_until_it_goes_on(desk: Desk) -> None:
    execution = desk.start(desk.push(CHAIN)).execution
    now = desk.clock.now()
    assert desk.do(op.Pause(execution, now)) == [[]]
    assert desk.claim(execution) is None
    assert desk.row("SELECT status, due FROM segment") == ("ready", None)
    assert desk.do(op.Pause(execution, now, resume=True)) == [[(0, "", "default")]]
    assert desk.claim(execution) is not None
    assert desk.gapless(execution)


def test_a_segment_that_ends_during_a_pause_is_followed_when_the_execution_goes_on(desk: Desk) -> None:
    execution = desk.start(desk.push(DIAMOND)).execution
    now = desk.clock.now()
    desk.do(op.Pause(execution, now))
    settled = desk.settle(execution, inline=True)
    assert settled == op.Settled()
    assert desk.rows("SELECT due FROM segment WHERE status = 'ready'") == [(None,), (None,)]
    (ready,) = desk.do(op.Pause(execution, now, resume=True))
    assert sorted(ready) == [(1, "", "default"), (2, "", "default")]


def test_what_has_not_started_is_cancelled_at_once(desk: Desk) -> None:
    execution = desk.start(desk.push(CHAIN)).execution
    assert desk.do(op.Cancel(execution, desk.clock.now(), "no longer needed")) == ["cancelled"]
    assert desk.segments(execution) == {0: "cancelled"}
    assert desk.claim(execution) is None
    assert desk.do(op.Cancel(execution, desk.clock.now())) == ["cancelled"]
    assert desk.gapless(execution)


@pytest.mark.parametrize("timed_out", [True, False])
@pytest.mark.parametrize("how", ["settle", "fail", "suspend", "doubt", "release", "lose"])
def test_an_execution_that_is_to_stop_ends_however_its_running_segment_does(
    desk: Desk, how: str, timed_out: bool
) -> None:
    execution = desk.start(desk.push(CHAIN)).execution
    claimed = desk.claim(execution)
    assert claimed is not None
    now = desk.clock.now()
    assert desk.do(op.Cancel(execution, now, timed_out=timed_out)) == ["running"]
    renew = op.Renew(execution, ((0, "", claimed.epoch),), now, now + LEASE)
    (renewed,) = desk.do(renew)
    assert (renewed.held, renewed.stopping) == (frozenset({(0, "")}), frozenset({(0, "")}))
    mine = {**held(execution, claimed.epoch, now), "entries": ()}
    operations: dict[str, Any] = {
        "settle": desk.end(execution, epoch=claimed.epoch, pure=False),
        "fail": op.Settle(**mine, error='{"code": "x.y", "message": "no"}'),
        "suspend": op.Suspend(**mine, due=now + 1),
        "doubt": op.Doubt(**mine),
        "release": op.Release(**mine),
        "lose": op.Lose(execution, ((0, "", claimed.epoch),), now, "It died.", 3),
    }
    desk.do(operations[how])
    assert desk.status(execution) == ("timed_out" if timed_out else "cancelled")
    assert desk.segments(execution) == {0: "cancelled"}
    assert desk.row("SELECT open, owner FROM execution, segment") == (0, None)
    assert desk.gapless(execution)


def test_a_failure_stops_what_has_not_started_and_lets_what_runs_be_written_down(desk: Desk) -> None:
    body = document(
        [node("a"), node("b", "http_request", CALL), node("c", "http_request", CALL), node("d")],
        edges("a->b", "a->c", "a->d"),
        "three",
    )
    execution = desk.start(desk.push(body)).execution
    desk.settle(execution)
    number = desk.plan(execution).segment_of
    b, c = desk.claim(execution, number["b"]), desk.claim(execution, number["c"])
    assert b is not None
    assert c is not None
    error = '{"code": "x.y", "message": "no", "node": "b"}'
    settled = desk.settle(execution, number["b"], b.epoch, pure=False, error=error, taken=())
    assert settled == op.Settled(finished="failed")
    assert desk.segments(execution)[number["d"]] == "cancelled"
    late = {**held(execution, c.epoch, desk.clock.now()), "segment": number["c"]}
    late["entries"] = (op.Entry("c", "succeeded", "keyed", output=op.Payload("1")),)
    desk.do(op.Settle(**late, taken=(True,)))
    assert desk.row("SELECT status FROM journal WHERE node = 'c'") == ("succeeded",)
    now = desk.clock.now()
    assert desk.row("SELECT status, error, finished_at FROM execution") == ("failed", error, now)
    assert "ready" not in desk.segments(execution).values()
    assert desk.gapless(execution)


@pytest.mark.parametrize("how", ["release", "lose"])
def test_a_segment_given_up_after_the_end_of_its_execution_stays_given_up(desk: Desk, how: str) -> None:
    body = document(
        [node("a"), node("b", "http_request", CALL), node("c", "http_request", CALL)],
        edges("a->b", "a->c"),
        "two",
    )
    execution = desk.start(desk.push(body)).execution
    desk.settle(execution)
    b, c = desk.claim(execution, 1), desk.claim(execution, 2)
    assert b is not None
    assert c is not None
    error = '{"code": "x.y", "message": "no", "node": "b"}'
    desk.settle(execution, 1, b.epoch, pure=False, error=error, taken=())
    mine = {**held(execution, c.epoch, desk.clock.now()), "segment": 2, "entries": (), "events": ()}
    if how == "release":
        desk.do(op.Release(**mine))
    else:
        desk.lose(execution, c.epoch, 2)
    assert desk.segments(execution)[2] == "cancelled"


# --- Schemas ------------------------------------------------------------------------------------------------


def test_a_database_of_a_newer_version_is_refused_with_the_remedy(desk: Desk) -> None:
    desk.do(lambda connection: connection.run("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew) as caught:
        schema.check(desk.reading)
    assert caught.value.code == "database.schema_too_new"
    assert "9999" in caught.value.message
    assert "at least as new" in str(caught.value.hint)


def test_an_empty_database_is_refused_with_the_remedy(desk: Desk) -> None:
    desk.do(lambda connection: connection.run("DELETE FROM alembic_version"))
    with pytest.raises(SchemaMissing) as caught:
        schema.check(desk.reading)
    assert caught.value.hint == "Run: celeriac migrate"


def test_migrating_again_changes_nothing(desk: Desk, store: Settings) -> None:
    desk.start(desk.push(CHAIN))
    assert schema.migrate(store, 0) == schema.HEAD
    assert len(desk.rows("SELECT id FROM execution")) == 1


def test_the_newest_migration_is_the_one_the_code_asks_for() -> None:
    names = sorted(path.name.partition("_")[0] for path in schema._MIGRATIONS.glob("versions/[0-9]*.py"))
    assert names[-1] == schema.HEAD
