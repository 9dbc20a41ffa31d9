"""The pen on a real SQLite file: what each transition does, what it refuses, and that it moves along the table only."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import operations as op
from engine import transitions
from engine.catalog import Active
from engine.fans import Fan
from engine.plan import LATE, item_in
from engine.settings import DEFAULT_PROJECT
from engine.states import (
    ACTIVE,
    EXECUTION_FINAL,
    EXECUTION_MOVES,
    SEGMENT_FINAL,
    SEGMENT_MOVES,
    ExecutionStatus,
    SegmentStatus,
)
from engine.store import statements
from engine.store.statements import ALIVE
from tests.builders import document, edge, edges, node
from tests.workbench import NOW, OWNER, Workbench

LEASE = 15_000
NUMBERS = count()
GRACE = 2_000
EFFECT = node("call", "http_request", {"url": "https://x.example/", "method": "POST"})
"""A node with an effect: its segment is claimed."""

ONE = document([EFFECT], name="one")
PURE = document([node("a")], name="pure")
DIAMOND = document([node("a"), node("b"), node("c"), node("d")], edges("a->b->d", "a->c->d"), name="diamond")
"""Segments: 0 trigger and a, 1 b, 2 c, 3 d and the output."""

EFFECTS = document(
    [node("a"), {**EFFECT, "id": "b"}, {**EFFECT, "id": "c"}, {**EFFECT, "id": "d"}],
    edges("a->b->d", "a->c->d"),
    name="effects",
)
HASTY = document(
    [node("a"), node("b"), node("c"), node("d", join="any")], edges("a->b->d", "a->c->d"), name="hasty"
)
CHOICE = document(
    [node("choose", "if", {"condition": "true"}), node("a"), node("b"), node("meet")],
    [edge("choose", "a", port="true"), edge("choose", "b", port="true"), *edges("a->meet", "b->meet")],
    name="choice",
)
QUEUES = document([node("a", queue="one"), node("b", queue="other")], edges("a->b"), name="queues")
EACH = {"items": "xs", "on_item_error": "null", "concurrency": 2}
MAP = document(
    [
        {
            "id": "m",
            "type": "scope",
            "for_each": EACH,
            "body": {"nodes": [node("a"), {**EFFECT, "id": "b"}, node("c")], "edges": edges("a->b", "a->c")},
        },
        node("after"),
    ],
    edges("m->after"),
    name="map",
)
"""Segments: 0 trigger and m, 1 after; of an item 2 begin and a, 3 b, 4 c, 5 the end."""

CHUNKS = document([node("m", for_each={"items": "xs"})], name="chunks")
"""Segments: 0 trigger and m, 1 the output, 2 all of an item, many of which are performed in one go."""

GUARDED = document(
    [
        {
            "id": "s",
            "type": "scope",
            "body": {
                "nodes": [
                    {
                        "id": "t",
                        "type": "scope",
                        "body": {"nodes": [{**EFFECT, "id": "b", "compensate": {"type": "noop"}}, node("c")]},
                        "finally": {"nodes": [{**EFFECT, "id": "d"}]},
                    },
                    node("e"),
                ]
            },
            "finally": {"nodes": [node("f"), node("g")]},
        },
        {**EFFECT, "id": "beside"},
    ],
    name="guarded",
)

NESTED = document(
    [
        {
            "id": "s",
            "type": "scope",
            "body": {
                "nodes": [
                    {**EFFECT, "id": "b", "for_each": {"items": "xs"}},
                    {**EFFECT, "id": "c", "compensate": {"type": "noop"}},
                ],
                "edges": [],
            },
            "catch": [{"body": {"nodes": [node("rescue")], "edges": []}}],
        }
    ],
    name="nested",
)


def held(execution: str, segment: int = 0, epoch: int = 0, **more: Any) -> dict[str, Any]:
    """What every request of a holder says; of a pure segment unless an epoch is given."""
    return {
        "execution": execution,
        "segment": segment,
        "item": "",
        "epoch": epoch,
        "pure": epoch == 0,
        "now": NOW,
        **more,
    }


def claim(execution: str, segment: int = 0, owner: str = OWNER) -> op.Claim:
    return op.Claim(execution, segment, "", owner, NOW, NOW + LEASE)


def settle(execution: str, segment: int = 0, epoch: int = 0, taken: str = "1", **more: Any) -> op.Settle:
    return op.Settle(
        **held(execution, segment, epoch),
        taken=tuple(each == "1" for each in taken),
        owner=OWNER,
        lease=LEASE,
        **more,
    )


def failed(execution: str, segment: int = 0, epoch: int = 0) -> op.Settle:
    return op.Settle(**held(execution, segment, epoch), error='{"code":"x.broken","message":"It broke."}')


def entry(name: str, status: str = "succeeded", output: str = "1") -> op.Entry:
    return op.Entry(name, status, "once", output=op.Payload(output), started_at=NOW, ended_at=NOW)


@pytest.fixture
def running(bench: Workbench) -> str:
    """An execution whose one segment is claimed with the fence 1."""
    name = bench.start(bench.push(ONE))
    assert bench.ask(claim(name)) is not None
    return name


@pytest.fixture
def forked(bench: Workbench) -> str:
    """A diamond of effects whose two branches are ready."""
    name = bench.start(bench.push(EFFECTS))
    bench.ask(settle(name, taken="11"))
    return name


# start


def test_a_start_writes_the_execution_and_its_root_and_nothing_else(bench: Workbench) -> None:
    name = bench.start(bench.push(DIAMOND), {"k": 1})
    assert bench.status(name) == "created"
    assert bench.segments(name) == {0: "ready"}
    assert bench.query("SELECT open, seq, input, created_at FROM execution") == [(1, 1, '{"k":1}', NOW)]
    assert bench.segment(name, 0, "epoch", "ready_at", "due", "queue") == (0, NOW, NOW + GRACE, "default")
    assert bench.kinds(name) == ["execution.created"]


def test_a_start_for_which_its_queue_has_no_room_is_accepted_and_left_to_the_feeder(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, window=0)
    active = bench.push(ONE)
    started = bench.ask(start_of(bench, active))
    assert started.new
    assert not started.send
    assert bench.segment(started.execution, 0, "due") == (NOW,)
    bench.close()


def start_of(bench: Workbench, active: Active, **more: Any) -> op.Start:
    made = op.Start(
        bench.clock.mint("exec"),
        active.project,
        active.workflow,
        active.version,
        active.queue,
        bench.clock.now(),
        op.Payload("null"),
        "{}",
    )
    return replace(made, **more)


def test_a_known_key_starts_nothing_and_names_what_it_started(bench: Workbench) -> None:
    active = bench.push(ONE)
    first = bench.ask(start_of(bench, active, idempotency_key="k", request_hash="h"))
    again = bench.ask(start_of(bench, active, idempotency_key="k", request_hash="h"))
    other = bench.ask(start_of(bench, active, idempotency_key="k", request_hash="other"))
    assert again == op.Started(first.execution, new=False, same=True)
    assert other == op.Started(first.execution, new=False, same=False)
    assert bench.query("SELECT count(*) FROM execution") == [(1,)]
    assert bench.query("SELECT count(*) FROM segment") == [(1,)]


def test_of_one_key_twice_in_one_batch_the_first_wins(bench: Workbench) -> None:
    active = bench.push(ONE)
    first, second, free = bench.step(
        start_of(bench, active, idempotency_key="k", request_hash="h"),
        start_of(bench, active, idempotency_key="k", request_hash="h"),
        start_of(bench, active),
    )
    assert (first.new, second.new, free.new) == (True, False, True)
    assert second.execution == first.execution
    assert bench.query("SELECT count(*) FROM execution") == [(2,)]


def test_a_key_that_another_writer_takes_between_the_look_and_the_insert_is_his(bench: Workbench) -> None:
    active = bench.push(ONE)
    theirs = bench.ask(start_of(bench, active, idempotency_key="k", request_hash="h"))

    class Blind:
        """A connection whose first look at the keys finds none."""

        def __init__(self) -> None:
            self.looked = False

        def batch(self, statement: Any, rows: Any) -> Any:
            if statement is statements.KNOWN_KEYS and not self.looked:
                self.looked = True
                return []
            return bench.connection.batch(statement, rows)

        def __getattr__(self, name: str) -> Any:
            return getattr(bench.connection, name)

    bench.connection.begin()
    ours = start_of(bench, active, idempotency_key="k", request_hash="h")
    free = start_of(bench, active)
    answers = transitions.apply(cast("Any", Blind()), [ours, free], bench.rules)
    bench.connection.commit()
    assert [each.execution for each in answers] == [theirs.execution, free.execution]
    assert [each.new for each in answers] == [False, True]


def test_a_large_payload_lies_in_a_blob(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE), "x" * 40_000)
    assert bench.query(
        "SELECT length(b.body), b.size FROM execution e JOIN blob b ON b.hash = e.input_blob WHERE e.id = ?",
        name,
    ) == [(40_002, 40_002)]


# claim


def test_a_claim_raises_the_fence_and_sets_the_lease(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    assert bench.ask(claim(name)) == op.Claimed(1, 0, 0, 0, NOW, None)
    assert bench.segment(name, 0, "status", "epoch", "owner", "due") == ("running", 1, OWNER, NOW + LEASE)
    assert bench.status(name) == "running"
    assert bench.kinds(name) == ["execution.created", "segment.claimed"]


def test_what_is_claimed_cannot_be_claimed(bench: Workbench, running: str) -> None:
    assert bench.ask(claim(running)) is None
    assert bench.segment(running, 0, "epoch") == (1,)


def test_of_two_claims_in_one_batch_one_wins(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    answers = bench.step(claim(name, owner="one"), claim(name, owner="two"))
    assert sorted(each is None for each in answers) == [False, True]
    winner = "one" if answers[0] else "two"
    assert bench.segment(name, 0, "owner", "epoch") == (winner, 1)


def test_nothing_is_claimed_of_an_execution_that_is_paused_cancelled_or_unknown(bench: Workbench) -> None:
    active = bench.push(ONE)
    paused, cancelled = bench.start(active), bench.start(active)
    bench.step(op.Pause(paused, NOW), op.Cancel(cancelled, NOW))
    assert bench.step(claim(paused), claim(cancelled), claim("exec_unknown")) == [None, None, None]


# record


def test_a_record_is_written_only_while_the_fence_holds(bench: Workbench, running: str) -> None:
    assert bench.ask(op.Record(**held(running, epoch=1, entries=(entry("call"),)))) is op.Recorded.HELD
    assert bench.ask(op.Record(**held(running, epoch=2, entries=(entry("late"),)))) is op.Recorded.LOST
    assert bench.journal(running, "node", "status", "output", "epoch") == [("call", "succeeded", "1", 1)]


def test_of_two_holders_in_one_batch_the_later_one_is_heard(bench: Workbench, running: str) -> None:
    bench.ask(op.Lose(running, ((0, "", 1),), NOW, "late", 3))
    bench.ask(claim(running))
    answers = bench.step(
        op.Record(**held(running, epoch=1, entries=(entry("late"),))),
        op.Record(**held(running, epoch=2, entries=(entry("call"),))),
    )
    assert answers == [op.Recorded.LOST, op.Recorded.HELD]
    assert bench.journal(running, "node") == [("call",)]


def test_a_record_of_what_is_to_stop_says_so_and_writes_nothing(bench: Workbench, running: str) -> None:
    bench.ask(op.Cancel(running, NOW))
    answer = bench.ask(op.Record(**held(running, epoch=1, entries=(entry("call"),))))
    assert answer is op.Recorded.STOPPING
    assert bench.journal(running, "node") == []


# settle


def test_an_end_starts_what_follows_in_the_same_commit(bench: Workbench) -> None:
    name = bench.start(bench.push(DIAMOND))
    settled = bench.ask(settle(name, taken="11"))
    assert settled == op.Settled(ready=((1, "", "default"), (2, "", "default")))
    assert bench.segments(name) == {0: "done", 1: "ready", 2: "ready"}
    assert bench.query("SELECT open, status FROM execution") == [(2, "running")]
    assert bench.segment(name, 0, "exits", "due", "owner") == ("*", None, None)


def test_a_join_is_born_by_its_first_predecessor_and_started_by_its_last(bench: Workbench) -> None:
    name = bench.start(bench.push(DIAMOND))
    bench.ask(settle(name, taken="11"))
    assert bench.ask(settle(name, 1)) == op.Settled()
    assert bench.segment(name, 3, "status", "pending", "taken") == ("blocked", 1, 1)
    assert bench.ask(settle(name, 2)) == op.Settled(ready=((3, "", "default"),))
    assert bench.segment(name, 3, "status", "pending", "taken") == ("ready", 0, 2)


def test_two_predecessors_of_one_join_may_end_in_one_batch(bench: Workbench) -> None:
    name = bench.start(bench.push(DIAMOND))
    bench.ask(settle(name, taken="11"))
    first, second = bench.step(settle(name, 1), settle(name, 2))
    assert first == op.Settled()
    assert second == op.Settled(ready=((3, "", "default"),))
    assert bench.segment(name, 3, "status", "pending", "taken") == ("ready", 0, 2)


def test_a_join_that_has_started_still_counts_the_late(bench: Workbench) -> None:
    name = bench.start(bench.push(HASTY))
    bench.ask(settle(name, taken="11"))
    d = bench.programs.plan(bench.push(HASTY).version, bench.connection).segment_of["d"]
    first, late = bench.step(settle(name, 1, taken="11"), settle(name, 2, taken="11"))
    assert (d, "", "default") in first.ready
    assert (d, "", "default") not in late.ready
    assert bench.segment(name, d, "pending", "taken") == (0, 2)


def test_a_join_that_has_started_in_an_earlier_commit_still_counts_the_late(bench: Workbench) -> None:
    name = bench.start(bench.push(HASTY))
    bench.ask(settle(name, taken="11"))
    d = bench.programs.plan(bench.push(HASTY).version, bench.connection).segment_of["d"]
    bench.ask(settle(name, 1, taken="11"))
    assert bench.segment(name, d, "status", "pending", "taken") == ("ready", 1, 1)
    bench.ask(settle(name, 2, taken="11"))
    assert bench.segment(name, d, "status", "pending", "taken") == ("ready", 0, 2)


def test_a_branch_that_is_not_taken_skips_the_join_behind_it_and_writes_no_row_for_its_nodes(
    bench: Workbench,
) -> None:
    name = bench.start(bench.push(CHOICE))
    settled = bench.ask(settle(name, taken="00"))
    plan = bench.programs.plan(bench.push(CHOICE).version, bench.connection)
    meet, last = plan.segment_of["meet"], plan.segment_of["@output"]
    assert bench.segment(name, 0, "exits") == ("00",)
    assert bench.segments(name) == {0: "done", meet: "skipped", last: "ready"}
    assert settled.ready == ((last, "", "default"),)


def test_the_last_segment_ends_the_execution_with_its_output(bench: Workbench) -> None:
    active = bench.push(document([node("a")]))
    name = bench.start(active, reply_to="here")
    settled = bench.ask(settle(name, taken="", output=op.Payload('{"a":1}')))
    assert settled == op.Settled(finished="succeeded", reply_to="here")
    assert bench.output(name) == {"a": 1}
    assert bench.query("SELECT status, open, started_at, finished_at FROM execution") == [
        ("succeeded", 0, NOW, NOW)
    ]


def test_a_segment_ends_once(bench: Workbench) -> None:
    name = bench.start(bench.push(DIAMOND))
    first, twin = bench.step(settle(name, taken="11"), settle(name, taken="11"))
    assert first is not None
    assert twin is None
    assert bench.ask(settle(name, taken="11")) is None
    assert bench.segments(name) == {0: "done", 1: "ready", 2: "ready"}


def test_a_holder_whose_fence_has_passed_writes_nothing(bench: Workbench, running: str) -> None:
    bench.ask(op.Lose(running, ((0, "", 1),), NOW, "late", 3))
    bench.ask(claim(running))
    late = settle(running, epoch=1, taken="")
    assert bench.ask(replace(late, entries=(entry("call"),))) is None
    assert bench.journal(running, "node") == []
    assert bench.segment(running, 0, "status", "epoch") == ("running", 2)


def test_a_failure_ends_the_execution_and_what_has_not_begun(bench: Workbench, forked: str) -> None:
    bench.ask(claim(forked, 1))
    settled = bench.ask(failed(forked, 1, 1))
    assert settled == op.Settled(finished="failed")
    assert bench.segments(forked) == {0: "done", 1: "failed", 2: "cancelled"}
    assert bench.error(forked) == {"code": "x.broken", "message": "It broke."}
    assert bench.kinds(forked)[-1] == "execution.failed"


def test_of_an_execution_that_failed_a_running_segment_ends_cancelled_and_changes_nothing(
    bench: Workbench, forked: str
) -> None:
    bench.step(claim(forked, 1), claim(forked, 2))
    bench.ask(failed(forked, 1, 1))
    assert bench.ask(settle(forked, 2, 1)) == op.Settled(finished="failed")
    assert bench.segments(forked) == {0: "done", 1: "failed", 2: "cancelled"}
    assert bench.status(forked) == "failed"


def test_what_follows_on_the_same_queue_is_handed_over(bench: Workbench) -> None:
    name = bench.start(bench.push(DIAMOND))
    settled = bench.ask(settle(name, taken="11", inline=5))
    assert settled.ready == ()
    assert [each[:2] for each in settled.successors] == [(1, ""), (2, "")]
    assert bench.segment(name, 1, "status", "epoch", "due") == ("ready", 0, NOW + GRACE)


def test_at_most_so_many_are_handed_over_as_the_holder_asks_for(bench: Workbench) -> None:
    name = bench.start(bench.push(DIAMOND))
    settled = bench.ask(settle(name, taken="11", inline=1))
    assert [each[0] for each in settled.successors] == [1]
    assert settled.ready == ((2, "", "default"),)


def test_one_effect_is_handed_over_claimed_and_the_others_are_sent(bench: Workbench) -> None:
    name = bench.start(bench.push(EFFECTS))
    settled = bench.ask(settle(name, taken="11", inline=5))
    assert settled.successors == ((1, "", op.Claimed(1, 0, 0, 0, NOW, None)),)
    assert settled.ready == ((2, "", "default"),)
    assert bench.segment(name, 1, "status", "epoch", "owner", "due") == ("running", 1, OWNER, NOW + LEASE)
    assert bench.kinds(name)[-1] == "segment.claimed"


def test_a_join_may_be_handed_over_claimed(bench: Workbench, forked: str) -> None:
    bench.step(claim(forked, 1), claim(forked, 2))
    bench.ask(settle(forked, 1, 1))
    settled = bench.ask(settle(forked, 2, 1, inline=5))
    assert settled.successors == ((3, "", op.Claimed(1, 0, 0, 0, NOW, None)),)
    assert bench.segment(forked, 3, "status", "pending", "taken") == ("running", 0, 2)


def test_nothing_is_handed_over_across_queues(bench: Workbench) -> None:
    name = bench.start(bench.push(QUEUES))
    settled = bench.ask(settle(name, inline=5))
    assert settled.successors == ()
    assert settled.ready == ((1, "", "other"),)


def test_of_a_paused_execution_what_follows_is_ready_and_neither_sent_nor_handed_over(
    bench: Workbench,
) -> None:
    name = bench.start(bench.push(DIAMOND))
    bench.ask(op.Pause(name, NOW))
    assert bench.ask(settle(name, taken="11", inline=5)) == op.Settled()
    assert bench.segment(name, 1, "status", "due") == ("ready", None)


def test_a_queue_without_room_leaves_what_follows_to_the_feeder(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, window=0)
    name = bench.start(bench.push(DIAMOND))
    assert bench.ask(settle(name, taken="11")) == op.Settled()
    assert bench.segment(name, 1, "status", "due") == ("ready", NOW)
    bench.close()


def test_entries_events_and_blobs_come_with_the_end(bench: Workbench, running: str) -> None:
    blob = op.Blob("h" * 64, '"long"')
    at = held(
        running,
        epoch=1,
        entries=(replace(entry("call"), output=op.Payload(blob=blob.hash)),),
        events=(("node.succeeded", "call", NOW, {"ms": 1}),),
        blobs=(blob,),
    )
    bench.ask(op.Settle(**at, taken=()))
    assert bench.journal(running, "node", "status", "effect", "output", "blob") == [
        ("call", "succeeded", "once", None, "h" * 64)
    ]
    assert bench.query("SELECT hash, body, size FROM blob") == [("h" * 64, '"long"', 6)]
    assert bench.kinds(running)[-2:] == ["node.succeeded", "execution.succeeded"]


def test_a_blob_that_is_there_already_is_kept_once(bench: Workbench) -> None:
    active = bench.push(ONE)
    for _ in range(2):
        bench.start(active, "x" * 40_000)
    assert bench.query("SELECT count(*) FROM blob") == [(1,)]


def test_a_loser_that_runs_is_told_to_stop_and_starts_nothing_any_more(bench: Workbench) -> None:
    join = {"mode": "any", "cancel_rest": True}
    nodes = [node("a"), {**EFFECT, "id": "b"}, node("c"), node("z", "merge", join=join)]
    name = bench.start(bench.push(document(nodes, [*edges("a->z", "b->c"), edge("c", "z", when="true")])))
    bench.ask(settle(name, taken="11"))
    claimed = bench.ask(claim(name, 2))
    assert [each[0] for each in bench.ask(settle(name, 1)).ready] == [3]
    assert bench.segment(name, 2, "status", "stop") == ("running", 1)
    assert bench.ask(op.Renew(name, ((2, "", claimed.epoch),), NOW, NOW)).stopping == {(2, "")}
    assert bench.ask(settle(name, 2, claimed.epoch)) == op.Settled()
    assert bench.segments(name)[2] == "cancelled"


# suspend and doubt


@pytest.mark.parametrize(("backing_off", "status"), [(False, "waiting"), (True, "backing_off")])
def test_a_segment_rests_until_its_time(
    bench: Workbench, running: str, backing_off: bool, status: str
) -> None:
    assert bench.ask(
        op.Suspend(
            **held(running, epoch=1),
            due=NOW + 5,
            head=1,
            tries=2,
            backing_off=backing_off,
            first_try_at=NOW,
        )
    )
    assert bench.segment(running, 0, "status", "due", "head", "tries", "first_try_at", "owner") == (
        status,
        NOW + 5,
        1,
        2,
        NOW,
        None,
    )
    assert bench.query("SELECT status, open FROM execution") == [("waiting", 0)]


def test_an_unclaimed_segment_of_a_new_execution_may_rest_at_once(bench: Workbench) -> None:
    name = bench.start(bench.push(document([node("w", "wait", {"for": 5})])))
    assert bench.ask(op.Suspend(**held(name), due=NOW + 5000, head=1))
    assert bench.status(name) == "waiting"


def test_an_execution_is_not_waiting_while_another_segment_moves(bench: Workbench, forked: str) -> None:
    bench.ask(claim(forked, 1))
    bench.ask(op.Suspend(**held(forked, 1, 1), due=NOW + 5))
    assert bench.query("SELECT status, open FROM execution") == [("running", 1)]


def test_a_doubt_puts_a_segment_aside_with_its_reason(bench: Workbench, running: str) -> None:
    assert bench.ask(op.Doubt(**held(running, epoch=1), head=1, reason="who knows"))
    assert bench.segment(running, 0, "status", "due", "head", "reason", "owner") == (
        "uncertain",
        None,
        1,
        "who knows",
        None,
    )
    assert bench.status(running) == "waiting"


@pytest.mark.parametrize(
    "rest",
    [
        lambda name: op.Suspend(**held(name, epoch=1), due=NOW + 5),
        lambda name: op.Doubt(**held(name, epoch=1)),
        lambda name: op.Release(**held(name, epoch=1)),
    ],
    ids=["suspend", "doubt", "release"],
)
def test_what_comes_to_rest_in_a_cancelled_execution_ends_with_it(
    bench: Workbench, running: str, rest: Callable[[str], op.Held]
) -> None:
    assert bench.ask(op.Cancel(running, NOW)) == "running"
    assert bench.ask(rest(running)) is True
    assert bench.segments(running) == {0: "cancelled"}
    assert bench.query("SELECT status, open FROM execution") == [("cancelled", 0)]


@pytest.mark.parametrize("kind", [op.Suspend, op.Doubt, op.Release])
def test_nobody_puts_to_rest_what_he_does_not_hold(
    bench: Workbench, running: str, kind: type[op.Held]
) -> None:
    assert bench.ask(kind(**held(running, epoch=7))) is False
    assert bench.segments(running) == {0: "running"}
    assert bench.query("SELECT open FROM execution") == [(1,)]


# release


def test_a_released_segment_is_overdue_at_once_and_costs_nothing(bench: Workbench, running: str) -> None:
    bench.clock.move(3)
    at = {**held(running, epoch=1), "now": bench.clock.now()}
    assert bench.ask(op.Release(**at, entries=(entry("call", "intent"),)))
    assert bench.segment(running, 0, "status", "epoch", "deliveries", "tries", "owner") == (
        "ready",
        1,
        0,
        0,
        None,
    )
    assert bench.journal(running, "status") == [("intent",)]
    ready_at, due = bench.segment(running, 0, "ready_at", "due")
    assert due == ready_at
    bench.ask(op.Resend(running, ((0, "", due),), bench.clock.now() + GRACE, lost=True))
    assert bench.segment(running, 0, "deliveries") == (0,)


# renew


def test_a_renewal_prolongs_what_is_held_and_names_what_is_lost(bench: Workbench, forked: str) -> None:
    bench.ask(claim(forked, 1))
    renewed = bench.ask(op.Renew(forked, ((1, "", 1), (2, "", 1)), NOW, NOW + 99_000))
    assert renewed == op.Renewed(frozenset({(1, "")}), cancelling=False, pausing=False)
    assert bench.segment(forked, 1, "due") == (NOW + 99_000,)


def test_a_renewal_of_what_was_purged_is_told_to_stop(bench: Workbench) -> None:
    renewed = bench.ask(op.Renew("exec_gone", ((0, "", 1),), NOW, NOW))
    assert renewed == op.Renewed(frozenset(), cancelling=True, pausing=False)


def test_a_renewal_tells_of_a_cancellation_a_pause_and_an_end(bench: Workbench, forked: str) -> None:
    bench.step(claim(forked, 1), claim(forked, 2), op.Pause(forked, NOW))
    bench.ask(op.Pause(forked, NOW, resume=True))
    bench.step(claim(forked, 1), claim(forked, 2))
    bench.ask(op.Pause(forked, NOW))
    assert bench.ask(op.Renew(forked, ((1, "", 1),), NOW, NOW)).pausing
    bench.ask(op.Cancel(forked, NOW))
    assert bench.ask(op.Renew(forked, ((1, "", 1),), NOW, NOW)).stopping == {(1, "")}


def test_a_renewal_in_a_failed_execution_is_told_to_stop(bench: Workbench, forked: str) -> None:
    bench.step(claim(forked, 1), claim(forked, 2))
    bench.ask(failed(forked, 1, 1))
    renewed = bench.ask(op.Renew(forked, ((2, "", 1),), NOW, NOW))
    assert (renewed.held, renewed.cancelling) == (frozenset({(2, "")}), True)


# wake and resend


def test_a_rest_ends_when_its_time_has_come_and_not_before(bench: Workbench, running: str) -> None:
    bench.ask(op.Suspend(**held(running, epoch=1), due=NOW + 5))
    assert bench.ask(op.Wake(running, ((0, ""),), NOW + 4)) == []
    assert bench.ask(op.Wake(running, ((0, ""),), NOW + 5)) == [(0, "", "default")]
    assert bench.ask(op.Wake(running, ((0, ""),), NOW + 5)) == []
    assert bench.segment(running, 0, "status", "ready_at", "due") == ("ready", NOW + 5, NOW + 5 + GRACE)
    assert bench.query("SELECT status, open FROM execution") == [("running", 1)]


def test_nothing_wakes_in_a_paused_execution(bench: Workbench, running: str) -> None:
    bench.ask(op.Suspend(**held(running, epoch=1), due=NOW))
    bench.ask(op.Pause(running, NOW))
    assert bench.ask(op.Wake(running, ((0, ""),), NOW + 5)) == []


def test_of_two_pollers_that_send_again_one_wins(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    resend = op.Resend(name, ((0, "", NOW + GRACE),), NOW + 9_000)
    assert bench.ask(resend) == [(0, "", "default")]
    assert bench.ask(resend) == []
    assert bench.segment(name, 0, "due", "deliveries") == (NOW + 9_000, 0)


@pytest.mark.parametrize("kind", ["resend", "lose", "wake"])
def test_of_several_who_ask_for_one_execution_in_one_batch_one_sends_each_segment(
    bench: Workbench, forked: str, kind: str
) -> None:
    one, two = 1, 2
    (mark,) = bench.segment(forked, 1, "due")
    if kind != "resend":
        bench.step(claim(forked, 1), claim(forked, 2))
    if kind == "wake":
        bench.step(*(op.Suspend(**held(forked, each, 1), due=NOW) for each in (one, two)))
    asks: dict[str, Callable[[int], op.Operation]] = {
        "resend": lambda each: op.Resend(forked, ((each, "", mark),), NOW + 9_000),
        "lose": lambda each: op.Lose(forked, ((each, "", 1),), NOW, "dead", 3),
        "wake": lambda each: op.Wake(forked, ((each, ""),), NOW),
    }
    answers = bench.step(asks[kind](one), asks[kind](two))
    assert sorted(sendable for answer in answers for sendable in answer) == [
        (1, "", "default"),
        (2, "", "default"),
    ]


def lost(bench: Workbench, name: str) -> int:
    """Let a message that was sent be lost; return the deliveries so far."""
    (mark,) = bench.segment(name, 0, "due")
    bench.ask(op.Resend(name, ((0, "", mark),), mark + 1, lost=True))
    return int(bench.segment(name, 0, "deliveries")[0])


def test_a_lost_message_of_a_pure_segment_counts_twice_at_most(bench: Workbench) -> None:
    name = bench.start(bench.push(PURE))
    assert [lost(bench, name) for _ in range(4)] == [1, 2, 2, 2]


def test_a_segment_that_is_claimed_before_it_does_anything_is_not_blamed_for_a_lost_message(
    bench: Workbench,
) -> None:
    name = bench.start(bench.push(ONE))
    assert [lost(bench, name) for _ in range(3)] == [0, 0, 0]


def test_what_was_never_sent_was_never_lost(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, window=0)
    name = bench.start(bench.push(PURE))
    assert bench.ask(op.Resend(name, ((0, "", NOW),), NOW + GRACE, lost=True)) == [(0, "", "default")]
    assert bench.segment(name, 0, "deliveries") == (0,)
    bench.close()


# lose


def test_a_lost_claim_is_ready_again_and_counts_one_delivery(bench: Workbench, running: str) -> None:
    bench.clock.move(1)
    now = bench.clock.now()
    assert bench.ask(op.Lose(running, ((0, "", 1),), now, "dead", 3)) == [(0, "", "default")]
    assert bench.segment(running, 0, "status", "deliveries", "due", "owner", "reason") == (
        "ready",
        1,
        now + GRACE,
        None,
        None,
    )
    assert bench.query("SELECT status, open FROM execution") == [("running", 1)]
    assert bench.events(running)[-1][0] == "segment.lost"


def test_after_too_many_deliveries_a_segment_is_quarantined_with_the_reason(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    for epoch in range(1, 5):
        assert bench.ask(claim(name)).deliveries == epoch - 1
        bench.ask(op.Lose(name, ((0, "", epoch),), NOW, "dead", 3))
    assert bench.segment(name, 0, "status", "due", "reason", "deliveries") == ("quarantined", None, "dead", 4)
    assert bench.query("SELECT status, open FROM execution") == [("waiting", 0)]


@pytest.mark.parametrize(
    "hand_back",
    [
        lambda name: op.Lose(name, ((0, "", 1),), NOW, "dead", 3),
        lambda name: op.Release(**held(name, epoch=1)),
    ],
    ids=["lose", "release"],
)
def test_what_comes_back_into_a_paused_execution_is_held_with_the_rest(
    bench: Workbench, running: str, hand_back: Callable[[str], Any]
) -> None:
    bench.ask(op.Pause(running, NOW))
    assert bench.ask(hand_back(running)) in ([], True)
    assert bench.segment(running, 0, "status", "due") == ("ready", None)
    assert bench.ask(op.Pause(running, NOW, resume=True)) == [(0, "", "default")]


def test_only_the_claim_that_was_seen_is_taken(bench: Workbench, running: str) -> None:
    assert bench.ask(op.Lose(running, ((0, "", 9),), NOW, "dead", 3)) == []
    assert bench.segments(running) == {0: "running"}


def test_a_lost_claim_of_a_cancelled_execution_ends_it(bench: Workbench, running: str) -> None:
    bench.ask(op.Cancel(running, NOW))
    assert bench.ask(op.Lose(running, ((0, "", 1),), NOW, "dead", 3)) == []
    assert bench.segments(running) == {0: "cancelled"}
    assert bench.status(running) == "cancelled"


# cancel


def test_a_cancellation_ends_at_once_what_nothing_runs_of(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    assert bench.ask(op.Cancel(name, NOW, "enough")) == "cancelled"
    assert bench.segments(name) == {0: "cancelled"}
    assert bench.kinds(name)[-2:] == ["execution.cancel_requested", "execution.cancelled"]
    assert bench.query("SELECT cancel_at, cancel_reason, open FROM execution") == [(NOW, "enough", 0)]


def test_a_cancellation_waits_for_what_runs(bench: Workbench, forked: str) -> None:
    bench.ask(claim(forked, 1))
    assert bench.ask(op.Cancel(forked, NOW)) == "running"
    assert bench.segments(forked) == {0: "done", 1: "running", 2: "cancelled"}
    assert bench.ask(settle(forked, 1, 1)) == op.Settled(finished="cancelled")
    assert bench.segments(forked) == {0: "done", 1: "cancelled", 2: "cancelled"}


def test_a_second_cancellation_changes_nothing(bench: Workbench, running: str) -> None:
    bench.ask(op.Cancel(running, NOW, "first"))
    bench.ask(op.Cancel(running, NOW + 5, "second"))
    assert bench.query("SELECT cancel_at, cancel_reason FROM execution") == [(NOW, "first")]
    bench.ask(settle(running, 0, 1, ""))
    assert bench.ask(op.Cancel(running, NOW)) == "cancelled"


def test_a_deadline_ends_an_execution_as_timed_out(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    assert bench.ask(op.Cancel(name, NOW, timed_out=True)) == "timed_out"
    assert bench.error(name)["code"] == "execution.timed_out"
    assert bench.kinds(name)[-1] == "execution.timed_out"


def test_who_cancels_an_execution_that_is_not_there_is_refused_alone(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    answers = bench.step(op.Cancel("exec_unknown", NOW), op.Cancel(name, NOW))
    assert isinstance(answers[0], KeyError)
    assert answers[1] == "cancelled"


# pause


def test_a_pause_holds_what_is_ready_and_letting_go_sends_it(bench: Workbench, forked: str) -> None:
    assert bench.ask(op.Pause(forked, NOW)) == []
    assert bench.segment(forked, 1, "due") == (None,)
    assert bench.ask(op.Pause(forked, NOW)) == []
    assert sorted(bench.ask(op.Pause(forked, NOW + 5, resume=True))) == [
        (1, "", "default"),
        (2, "", "default"),
    ]
    assert bench.segment(forked, 1, "due") == (NOW + 5 + GRACE,)
    assert bench.kinds(forked)[-2:] == ["execution.paused", "execution.resumed"]


def test_of_a_pause_and_its_end_in_one_batch_the_last_word_holds(bench: Workbench, forked: str) -> None:
    bench.ask(op.Pause(forked, NOW))
    bench.step(op.Pause(forked, NOW, resume=True), op.Pause(forked, NOW))
    assert bench.segment(forked, 1, "due") == (None,)
    bench.step(op.Pause(forked, NOW, resume=True), op.Pause(forked, NOW), op.Pause(forked, NOW, resume=True))
    assert bench.segment(forked, 1, "due") == (NOW + GRACE,)


def test_an_ended_execution_cannot_be_paused(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    bench.ask(op.Cancel(name, NOW))
    assert bench.ask(op.Pause(name, NOW)) is None


# resolve


@pytest.mark.parametrize(
    ("decision", "status", "output"),
    [("retry", "waived", None), ("done", "succeeded", "7"), ("fail", "failed", "7")],
)
def test_a_persons_word_is_journaled_and_makes_the_segment_ready(
    bench: Workbench, running: str, decision: str, status: str, output: str | None
) -> None:
    intent = op.Entry("call", "intent", "once", started_at=NOW)
    bench.ask(op.Doubt(**held(running, epoch=1, entries=(intent,)), head=1, reason="who knows"))
    word = op.Resolve(running, 0, "", decision, NOW, "ann", op.Payload("7"), "call")
    assert bench.ask(word) == [(0, "", "default")]
    assert bench.segment(running, 0, "status", "deliveries", "reason") == ("ready", 0, None)
    assert bench.journal(running, "node", "status", "output") == [("call", status, output)]
    assert bench.query("SELECT status, open FROM execution") == [("running", 1)]
    assert bench.kinds(running)[-2:] == ["segment.resolved", "segment.ready"]
    assert bench.ask(word) is None


def test_a_word_to_try_again_takes_back_nothing_that_has_an_outcome(bench: Workbench, running: str) -> None:
    entries = (entry("call", "succeeded"), op.Entry("call", "intent", "once", "step", started_at=NOW))
    bench.ask(op.Doubt(**held(running, epoch=1, entries=entries)))
    bench.ask(op.Resolve(running, 0, "", "retry", NOW, "ann", node="call"))
    assert bench.journal(running, "step", "status") == [("", "succeeded"), ("step", "waived")]


def test_a_word_on_a_quarantined_segment_needs_no_node(bench: Workbench, running: str) -> None:
    bench.ask(op.Lose(running, ((0, "", 1),), NOW, "dead", 0))
    assert bench.segments(running) == {0: "quarantined"}
    assert bench.ask(op.Resolve(running, 0, "", "retry", NOW, "ann")) == [(0, "", "default")]
    assert bench.journal(running, "node") == []


def test_a_word_on_what_is_certain_is_refused(bench: Workbench, running: str) -> None:
    assert bench.ask(op.Resolve(running, 0, "", "retry", NOW, "ann", node="call")) is None
    assert bench.journal(running, "node") == []


# spread, arrivals and close


def fan(count: int = 3, window: int = 9, tolerate: int = 0, size: int = 1, **more: Any) -> str:
    return Fan(1, 0, count, size, window, tolerate, **more).to_text()


def spread(execution: str, epoch: int = 0, **more: Any) -> op.Spread:
    return op.Spread(**held(execution, 0, epoch), owner=OWNER, lease=LEASE, **more)


def at_item(operation: Any, item: str) -> Any:
    return replace(operation, item=item)


def counted(bench: Workbench, execution: str) -> Fan:
    return Fan.from_text(bench.segment(execution, 0, "fan")[0])


def items(bench: Workbench, execution: str) -> list[tuple[int, str, str]]:
    """The rows inside."""
    return bench.query(
        "SELECT segment, item, status FROM segment WHERE execution_id = ? AND item <> '' ORDER BY 1, 2",
        execution,
    )


@pytest.fixture
def spreading(bench: Workbench) -> str:
    """A map of chunks, three items of which are under way."""
    name = bench.start(bench.push(CHUNKS))
    assert bench.ask(spread(name, fan=fan())) is not None
    return name


def test_a_container_rests_while_what_it_opened_is_ready(bench: Workbench, spreading: str) -> None:
    assert bench.segment(spreading, 0, "status", "due", "owner") == ("waiting", None, None)
    assert items(bench, spreading) == [(2, each, "ready") for each in "012"]
    assert (counted(bench, spreading).pending, counted(bench, spreading).opened) == (3, 3)
    assert bench.query("SELECT status, open FROM execution") == [("running", 3)]


def test_what_was_opened_is_handed_over_or_to_be_sent(bench: Workbench) -> None:
    name = bench.start(bench.push(CHUNKS))
    settled = bench.ask(spread(name, fan=fan(size=2), inline=1))
    ((segment, item, claimed),) = settled.successors
    assert (segment, item, claimed.hi, claimed.epoch) == (2, "0", 1, 0)
    assert settled.ready == ((2, "2", "default"),)
    assert bench.query("SELECT item, hi FROM segment WHERE segment = 2 ORDER BY 1") == [("0", 1), ("2", 2)]


def test_a_container_that_was_stopped_meanwhile_opens_nothing_and_does_not_say_so(bench: Workbench) -> None:
    name = bench.start(bench.push(CHUNKS))
    bench.ask(op.Claim(name, 0, "", OWNER, NOW, NOW + LEASE))
    told = ("node.opened", "m", NOW, {"count": 3})
    opened = spread(name, epoch=1, fan=fan(), events=(("node.succeeded", "a", NOW, {}), told))
    _, settled = bench.step(op.Cancel(name, NOW), opened)
    assert (settled.ready, settled.successors, settled.finished) == ((), (), "cancelled")
    assert items(bench, name) == []
    assert bench.kinds(name)[-3:] == ["execution.cancel_requested", "node.succeeded", "execution.cancelled"]


def test_losses_before_a_container_has_opened_something_count_no_more(bench: Workbench) -> None:
    name = bench.start(bench.push(CHUNKS))
    bench.connection.run("UPDATE segment SET deliveries = 2")
    bench.ask(spread(name, fan=fan()))
    assert bench.segment(name, 0, "deliveries") == (0,)


def test_nobody_opens_what_he_does_not_hold(bench: Workbench, spreading: str) -> None:
    assert bench.ask(spread(spreading, fan=fan())) is None
    assert bench.ask(spread(spreading, epoch=7, fan=fan())) is None


def test_each_arrival_opens_the_next_and_the_last_makes_the_container_ready(bench: Workbench) -> None:
    name = bench.start(bench.push(CHUNKS))
    bench.ask(spread(name, fan=fan(window=1)))
    for index in (0, 1):
        settled = bench.ask(at_item(settle(name, 2, taken=""), str(index)))
        assert settled.ready == ((2, str(index + 1), "default"),)
        assert bench.segment(name, 0, "status") == ("waiting",)
    settled = bench.ask(at_item(settle(name, 2, taken=""), "2"))
    assert settled.ready == ((0, "", "default"),)
    assert bench.segment(name, 0, "status", "epoch") == ("ready", 1)
    assert bench.events(name)[-1][:2] == ["segment.ready", 0]
    assert bench.query("SELECT status, open FROM execution") == [("running", 1)]


def test_the_last_arrival_may_hand_the_container_over_with_its_count(bench: Workbench) -> None:
    name = bench.start(bench.push(CHUNKS))
    bench.ask(spread(name, fan=fan(count=1)))
    settled = bench.ask(at_item(settle(name, 2, taken="", inline=1), "0"))
    ((segment, item, claimed),) = settled.successors
    assert (segment, item, claimed.epoch) == (0, "", 1)
    assert Fan.from_text(claimed.fan).over


def test_arrivals_of_one_batch_are_counted_together(bench: Workbench, spreading: str) -> None:
    answers = bench.step(*(at_item(settle(spreading, 2, taken=""), each) for each in "012"))
    assert [each.ready for each in answers] == [(), (), ((0, "", "default"),)]
    assert (counted(bench, spreading).ended, counted(bench, spreading).pending) == (3, 0)


def test_a_chunk_says_how_many_of_its_items_failed(bench: Workbench) -> None:
    name = bench.start(bench.push(CHUNKS))
    bench.ask(spread(name, fan=fan(size=2, tolerate=1)))
    bench.ask(at_item(settle(name, 2, taken="", failures=1), "0"))
    assert (counted(bench, name).failed, counted(bench, name).closed) == (1, False)
    bench.ask(at_item(settle(name, 2, taken="", failures=1), "2"))
    assert (counted(bench, name).failed, counted(bench, name).closed) == (2, True)


def test_a_failure_that_is_not_tolerated_stops_the_others_and_wakes_the_container(
    bench: Workbench, spreading: str
) -> None:
    settled = bench.ask(at_item(failed(spreading, 2), "1"))
    assert settled.ready == ((0, "", "default"),)
    assert items(bench, spreading) == [(2, "0", "cancelled"), (2, "1", "failed"), (2, "2", "cancelled")]
    assert bench.query("SELECT status, open FROM execution") == [("running", 1)]


def test_a_failure_that_is_tolerated_stops_its_own_instance_only(bench: Workbench) -> None:
    name = bench.start(bench.push(MAP))
    bench.ask(spread(name, fan=fan(count=2, tolerate=2)))
    bench.ask(at_item(settle(name, 2, taken="11"), "0"))
    bench.step(at_item(claim(name, 3), "0"))
    bench.ask(at_item(failed(name, 3, 1), "0"))
    assert items(bench, name) == [
        (2, "0", "done"),
        (2, "1", "ready"),
        (3, "0", "failed"),
        (4, "0", "cancelled"),
    ]
    assert counted(bench, name).pending == 1
    ((error,),) = bench.query("SELECT error FROM journal WHERE node = 'm@end' AND item = '0'")
    assert "x.broken" in error


def test_of_two_failures_of_one_instance_the_first_is_counted_and_kept(bench: Workbench) -> None:
    name = bench.start(bench.push(MAP))
    bench.ask(spread(name, fan=fan(count=2, tolerate=2)))
    bench.ask(at_item(settle(name, 2, taken="11"), "0"))
    bench.step(at_item(claim(name, 3), "0"))
    second = replace(failed(name, 3, 1), error='{"code":"x.second","message":"Too."}')
    answers = bench.step(at_item(failed(name, 4), "0"), at_item(second, "0"))
    assert answers[1] == op.Settled()
    assert counted(bench, name).failed == 1
    ((error,),) = bench.query("SELECT error FROM journal WHERE node = 'm@end'")
    assert "x.broken" in error


def test_what_runs_in_a_stopped_instance_is_told_so_and_ends_with_whatever_it_says(bench: Workbench) -> None:
    name = bench.start(bench.push(MAP))
    bench.ask(spread(name, fan=fan(count=2)))
    bench.ask(at_item(settle(name, 2, taken="11"), "0"))
    bench.step(at_item(claim(name, 3), "0"))
    bench.ask(at_item(failed(name, 4), "0"))
    renewed = bench.ask(op.Renew(name, ((3, "0", 1),), NOW, NOW))
    assert (renewed.stopping, renewed.cancelling) == (frozenset({(3, "0")}), False)
    assert bench.ask(at_item(op.Record(**held(name, 3, 1)), "0")) is op.Recorded.STOPPING
    assert bench.query("SELECT open FROM execution") == [(2,)]
    assert bench.ask(at_item(settle(name, 3, 1), "0")) == op.Settled()
    assert (3, "0", "cancelled") in items(bench, name)
    assert bench.query("SELECT status, open FROM execution") == [("running", 1)]


@pytest.mark.parametrize(
    "let_go",
    [
        lambda name: at_item(op.Suspend(**held(name, 3, 1), due=NOW + 5), "0"),
        lambda name: at_item(op.Doubt(**held(name, 3, 1)), "0"),
        lambda name: at_item(op.Release(**held(name, 3, 1)), "0"),
        lambda name: op.Lose(name, ((3, "0", 1),), NOW, "dead", 3),
    ],
)
def test_what_was_told_to_stop_is_over_when_it_is_let_go(
    bench: Workbench, let_go: Callable[[str], op.Operation]
) -> None:
    name = bench.start(bench.push(MAP))
    bench.ask(spread(name, fan=fan(count=2)))
    bench.ask(at_item(settle(name, 2, taken="11"), "0"))
    bench.step(at_item(claim(name, 3), "0"))
    bench.ask(at_item(failed(name, 4), "0"))
    bench.ask(let_go(name))
    assert (3, "0", "cancelled") in items(bench, name)
    assert bench.query("SELECT open FROM execution") == [(1,)]


def test_whoever_waits_on_after_more_has_arrived_looks_again(bench: Workbench) -> None:
    name = bench.start(bench.push(CHUNKS))
    bench.ask(spread(name, fan=fan(watch=True)))
    bench.ask(at_item(settle(name, 2, taken=""), "0"))
    bench.ask(at_item(settle(name, 2, taken=""), "1"))
    again = bench.ask(replace(spread(name, ended=1), epoch=1, pure=True))
    assert again.ready == ((0, "", "default"),)
    assert bench.segment(name, 0, "status", "epoch") == ("ready", 2)
    rests = bench.ask(replace(spread(name, ended=2, due=NOW + 7), epoch=2, pure=True))
    assert rests.ready == ()
    assert bench.segment(name, 0, "status", "due") == ("waiting", NOW + 7)


def test_a_container_that_goes_on_without_the_rest_stops_it(bench: Workbench, spreading: str) -> None:
    bench.ask(at_item(settle(spreading, 2, taken=""), "0"))
    bench.connection.run("UPDATE segment SET status = 'ready', epoch = 1 WHERE segment = 0")
    bench.connection.run("UPDATE execution SET open = open + 1")
    ends = replace(settle(spreading, 0), epoch=1, pure=True, stops=True)
    assert bench.ask(replace(ends, epoch=0)) is None
    assert bench.ask(ends).ready == ((1, "", "default"),)
    assert items(bench, spreading) == [(2, "0", "done"), (2, "1", "cancelled"), (2, "2", "cancelled")]
    assert counted(bench, spreading).closed
    assert bench.segments(spreading)[0] == "done"
    assert bench.query("SELECT open FROM execution") == [(1,)]


def test_a_container_that_stops_its_instances_is_looked_at_again(bench: Workbench, spreading: str) -> None:
    bench.ask(at_item(settle(spreading, 2, taken=""), "0"))
    bench.connection.run("UPDATE segment SET status = 'ready', epoch = 1 WHERE segment = 0")
    bench.connection.run("UPDATE execution SET open = open + 1")
    stops = replace(spread(spreading), epoch=1, pure=True, stops=True)
    assert bench.ask(stops).ready == ((0, "", "default"),)
    assert items(bench, spreading) == [(2, "0", "done"), (2, "1", "cancelled"), (2, "2", "cancelled")]
    assert counted(bench, spreading).closed
    assert bench.segment(spreading, 0, "status", "epoch") == ("ready", 2)
    assert bench.query("SELECT open FROM execution") == [(1,)]


def test_what_comes_after_the_close_arrives_nowhere(bench: Workbench, spreading: str) -> None:
    bench.ask(at_item(failed(spreading, 2), "1"))
    assert bench.ask(at_item(settle(spreading, 2, taken=""), "0")) is None
    assert counted(bench, spreading).ended == 1


def test_a_container_of_a_cancelled_execution_does_not_open_anything(bench: Workbench) -> None:
    name = bench.start(bench.push(CHUNKS))
    bench.ask(claim(name))
    bench.ask(op.Cancel(name, NOW))
    assert bench.ask(replace(spread(name, fan=fan()), epoch=1, pure=False)) == op.Settled(
        finished="cancelled"
    )
    assert (items(bench, name), bench.status(name)) == ([], "cancelled")


def test_a_claim_tells_where_a_container_and_a_chunk_stand(bench: Workbench) -> None:
    name = bench.start(bench.push(CHUNKS))
    bench.ask(spread(name, fan=fan(count=2, size=2)))
    claimed = bench.ask(at_item(claim(name, 2), "0"))
    assert (claimed.hi, claimed.fan) == (1, None)
    bench.ask(replace(settle(name, 2, 1, taken=""), item="0"))
    assert Fan.from_text(bench.ask(claim(name)).fan).over


# The whole, by chance


EACH = document(
    [*({**EFFECT, "id": each} for each in "abn"), {**EFFECT, "id": "m", "join": "each"}],
    edges("a->m->n", "b->m"),
    name="each",
)
ALL = [ONE, PURE, DIAMOND, EFFECTS, HASTY, CHOICE, QUEUES, MAP, CHUNKS, NESTED, EACH, GUARDED]


class Chance:
    """Draws operations that someone might ask, whether or not it is his turn, and compares every row before and after."""

    def __init__(self, bench: Workbench, workflows: list[Active], rng: random.Random) -> None:
        self._bench = bench
        self._rng = rng
        self._workflows = workflows
        self.executions: list[str] = []
        self.moves: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)

    def start(self) -> None:
        active = self._rng.choice(self._workflows)
        before = self._rows()
        self.executions.append(self._bench.start(active))
        self._compare("start", before)

    def step(self) -> None:
        kind = self._rng.choice([*sorted([*_MAKERS, "withdraw"]), *_OFTEN])
        self._bench.clock.move(self._rng.choice([0.0, 0.001, 1.0]))
        count = self._rng.randint(1, 3)
        drawn = [self._operation(kind) for _ in range(count)]
        kind = drawn[0][0]
        work = [operation for asked, operation in drawn if asked == kind]
        before = self._rows()
        for answer in self._bench.step(*work):
            assert not isinstance(answer, BaseException), (work, answer)
        self._compare(kind, before)

    def _operation(self, kind: str) -> tuple[str, op.Operation]:
        """Draw a request about some segment, of another kind if it cannot be asked of that one."""
        rows = self._bench.query(
            "SELECT s.execution_id, s.segment, s.item, s.epoch, s.due, s.fan, e.version_id FROM segment s "
            "JOIN execution e ON e.id = s.execution_id ORDER BY 1, 2, 3"
        )
        execution, segment, item, epoch, due, text, version = self._rng.choice(rows)
        plan = self._bench.programs.plan(version, self._bench.connection)
        here = plan.segments[segment]
        container = here.nodes[-1].container
        fan = None if text is None else Fan.from_text(text)
        if kind == "spread" and container is None:
            kind = "claim"
        elif kind == "settle" and container is not None and fan is None:
            kind = "spread"
        stale = self._rng.random() < 0.1
        pure = here.pure and self._rng.random() < 0.8
        at = held(execution, segment, max(0, epoch - 1) if stale else epoch, now=self._bench.clock.now())
        at["pure"] = pure
        at["item"] = item
        if kind == "spread" and container is not None:
            opens = fan is None or (fan.over and len(plan.regions) > fan.region + 1)
            number = container.body if fan is None else fan.region + 1
            opens = opens and plan.regions[min(number, len(plan.regions) - 1)].owner == here.nodes[-1].id
            return kind, op.Spread(
                **at,
                owner=OWNER,
                lease=LEASE,
                inline=self._rng.randint(0, 3),
                fan=self._fan(number, single=container.each is None) if opens else None,
                ended=0 if fan is None else fan.ended - stale,
                due=self._rng.choice([None, at["now"] + 1]),
                stops=not opens and self._rng.random() < 0.2,
            )
        taken = tuple(self._rng.random() < 0.6 for _ in here.exits)
        if kind == "withdraw":
            error = '{"code":"node.cancelled"}' if self._rng.random() < 0.5 else None
            chosen = self._rng.choice(here.nodes).id
            return kind, op.Withdraw(execution, segment, item, chosen, at["now"], error=error)
        if kind == "settle" and fan is not None and not fan.over:
            return kind, op.Settle(**at, taken=taken, stops=True, owner=OWNER, lease=LEASE)
        return kind, _MAKERS[kind](at, due or 0, taken, self._rng.random() < 0.5, self._rng.randint(0, 3))

    def _fan(self, region: int, *, single: bool) -> str:
        """What a container may open."""
        count, size = (1, 1) if single else (self._rng.randint(1, 4), self._rng.randint(1, 2))
        watch = self._rng.random() < 0.3
        return Fan(region, 0, count, size, 2, self._rng.randint(0, 1), watch=watch).to_text()

    def _rows(self) -> tuple[dict[Any, str], dict[Any, tuple[str, int, int]]]:
        segments = self._bench.query("SELECT execution_id, segment, item, status FROM segment")
        executions = self._bench.query("SELECT id, status, open, seq FROM execution")
        return (
            {(execution, number, item): status for execution, number, item, status in segments},
            {name: (status, open_, seq) for name, status, open_, seq in executions},
        )

    def _compare(self, kind: str, before: tuple[dict[Any, str], dict[Any, tuple[str, int, int]]]) -> None:
        after = self._rows()
        for key, status in after[0].items():
            self._moved("segment", before[0].get(key, ""), status, kind)
        for name, (status, _, _) in after[1].items():
            self._moved("execution", before[1][name][0] if name in before[1] else "", status, kind)
        self._hold_together(after)

    def _moved(self, what: str, old: str, new: str, kind: str) -> None:
        if old != new:
            self.moves[what, old, new, kind].add(kind)

    def _hold_together(self, rows: tuple[dict[Any, str], dict[Any, tuple[str, int, int]]]) -> None:
        """What holds after every commit, whoever asked for what."""
        segments, executions = rows
        for name, (status, open_, seq) in executions.items():
            own = [SegmentStatus(each) for (execution, *_), each in segments.items() if execution == name]
            events = self._bench.query(
                "SELECT seq, count FROM event WHERE execution_id = ? ORDER BY seq", name
            )
            assert [first for first, _ in events] == _starts([count for _, count in events])
            assert sum(count for _, count in events) == seq
            ready = self._bench.query(
                "SELECT s.due IS NULL, e.pause_at IS NOT NULL FROM segment s JOIN execution e ON e.id = s.execution_id "
                "WHERE e.id = ? AND s.status = 'ready'",
                name,
            )
            assert all(held_back == paused for held_back, paused in ready)
            if status in EXECUTION_FINAL:
                assert set(own) <= SEGMENT_FINAL | {SegmentStatus.RUNNING}
            else:
                cancelling = self._bench.query("SELECT cancel_at FROM execution WHERE id = ?", name)[0][0]
                assert open_ == sum(each in ACTIVE for each in own)
                assert (status == "waiting") == (open_ == 0)
                winding = self._bench.query(
                    f"SELECT 1 FROM segment WHERE execution_id = ? AND stop = 2 AND status IN {ALIVE}", name
                )
                assert cancelling is None or open_ > 0 or winding
                assert open_ > 0 or set(own) - SEGMENT_FINAL, f"{name} would never end"
                self._count_instances(name)

    def _count_instances(self, name: str) -> None:
        """A container waits for as many instances as there are, and what was told to stop runs or is over."""
        rows = self._bench.query(
            "SELECT s.segment, s.item, s.status, s.fan, s.stop, e.version_id FROM segment s JOIN execution e "
            "ON e.id = s.execution_id WHERE e.id = ?",
            name,
        )
        living = [
            (number, item, stop)
            for number, item, status, _, stop, _ in rows
            if SegmentStatus(status) not in SEGMENT_FINAL
        ]
        for _, item, status, text, stop, version in rows:
            if text is None or SegmentStatus(status) in SEGMENT_FINAL:
                continue
            fan, plan = Fan.from_text(text), self._bench.programs.plan(version, self._bench.connection)
            region = plan.regions[fan.region]
            inside = f"{item}." if item else ""
            going = {
                item_in(at, region.depth)
                for number, at, stop in living
                if region.first <= number < region.beyond and at.startswith(inside) and not stop
            }
            stopped = stop == 1 or (stop == op.WINDING and region.kind not in LATE)
            assert len(going) == (0 if fan.closed or stopped else fan.pending)


def _starts(counts: list[int]) -> list[int]:
    return [1 + sum(counts[:index]) for index in range(len(counts))]


_MAKERS: dict[str, Callable[[dict[str, Any], int, tuple[bool, ...], bool, int], op.Operation]] = {
    "claim": lambda at, _due, _taken, _chance, _n: op.Claim(
        at["execution"], at["segment"], at["item"], OWNER, at["now"], at["now"] + LEASE
    ),
    "record": lambda at, _due, _taken, _chance, _n: op.Record(
        **at, entries=(entry("call"),), events=(("node.log", "call", at["now"], {}),)
    ),
    "settle": lambda at, _due, taken, chance, n: op.Settle(
        **at,
        taken=taken,
        error='{"code":"x.broken"}' if chance and n == 0 else None,
        owner=OWNER,
        lease=LEASE,
        inline=n,
    ),
    "suspend": lambda at, _due, _taken, chance, n: op.Suspend(
        **at, due=at["now"] + n, head=n, tries=n, backing_off=chance
    ),
    "rest": lambda at, _due, _taken, chance, n: op.Rest(
        **at,
        project=DEFAULT_PROJECT,
        head=n,
        due=at["now"] + n if chance else None,
        subscriptions=(
            op.Subscription("event", "event", "paid", "", at["now"] - n, transient=chance),
            op.Subscription("called", "callback"),
            *((op.Subscription("late", "time"),) if chance else ()),
        ),
    ),
    "signal": lambda at, _due, _taken, _chance, _n: op.Signal(
        at["execution"], at["segment"], "", "called", "callback", at["now"]
    ),
    "publish": lambda at, _due, _taken, chance, n: op.Publish(
        f"evt_{next(NUMBERS)}",
        DEFAULT_PROJECT,
        "paid",
        "",
        at["now"],
        at["now"] + 10,
        key=str(n) if chance else None,
    ),
    "doubt": lambda at, _due, _taken, _chance, n: op.Doubt(**{**at, "pure": False}, head=n, reason="{}"),
    "release": lambda at, _due, _taken, _chance, _n: op.Release(**{**at, "pure": False}),
    "renew": lambda at, _due, _taken, _chance, _n: op.Renew(
        at["execution"], ((at["segment"], at["item"], at["epoch"]),), at["now"], at["now"] + LEASE
    ),
    "wake": lambda at, _due, _taken, _chance, _n: op.Wake(
        at["execution"], ((at["segment"], at["item"]),), at["now"]
    ),
    "resend": lambda at, due, _taken, chance, _n: op.Resend(
        at["execution"], ((at["segment"], at["item"], due),), at["now"] + GRACE, lost=chance
    ),
    "lose": lambda at, _due, _taken, _chance, n: op.Lose(
        at["execution"], ((at["segment"], at["item"], at["epoch"]),), at["now"], "dead", n
    ),
    "cancel": lambda at, _due, _taken, chance, n: op.Cancel(
        at["execution"], at["now"], timed_out=chance, force=n == 0
    ),
    "pause": lambda at, _due, _taken, chance, _n: op.Pause(at["execution"], at["now"], resume=chance),
    "resolve": lambda at, _due, _taken, _chance, n: op.Resolve(
        at["execution"],
        at["segment"],
        at["item"],
        ("retry", "done", "fail")[n % 3],
        at["now"],
        "ann",
        node="call",
    ),
    "spread": lambda at, _due, _taken, _chance, _n: op.Spread(**at, owner=OWNER, lease=LEASE),
}
"""A request of each kind about one segment, in the moment it is asked."""

_OFTEN = ["claim", "settle", "spread"] * 6
"""What has to be asked often, so that an execution comes far."""


@pytest.fixture
def workflows(bench: Workbench) -> list[Active]:
    return [bench.push(each) for each in ALL]


def empty(bench: Workbench) -> None:
    """Bring a workbench back to where nothing was ever started, at the same time and with the same ids to come."""
    for table in ("execution", "segment", "journal", "event", "signal", "subscription", "event_log"):
        bench.connection.run(f"DELETE FROM {table}")
    bench.clock.ms, bench.clock._drawn = NOW, 1_000
    for queue in ("default", "one", "other"):
        bench.room.learn(queue, 0)


def lifecycle() -> dict[tuple[str, str, str], set[str]]:
    """The tables of docs/lifecycle.md: which functions make which move."""
    text = (Path(__file__).parents[3] / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    found = {}
    for what, part in zip(
        ("execution", "segment"), re.split(r"^## ", text, flags=re.MULTILINE)[1:3], strict=True
    ):
        for old, new, by in re.findall(r"^\| (\w+) \| (\w+) \| ([^|]+) \|", part, re.MULTILINE):
            if old != "from":
                found[what, old, new] = set(re.findall(r"`(\w+)`", by))
    return found


BORN = {
    ("execution", "created"): {"start"},
    ("segment", "ready"): {"start", "settle", "spread"},
    ("segment", "running"): {"settle", "spread"},
    ("segment", "blocked"): {"settle"},
    ("segment", "skipped"): {"settle"},
    ("segment", "waiting"): {"settle"},
    ("segment", "cancelled"): {"settle"},
}
"""How rows come into being. One that is born and cancelled in the same commit is seen as cancelled only."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rng=st.randoms(use_true_random=False))
def test_every_row_moves_along_the_table_and_by_the_function_that_the_page_names(
    bench: Workbench, workflows: list[Active], rng: random.Random
) -> None:
    page = lifecycle()
    empty(bench)
    chance = Chance(bench, workflows, rng)
    for _ in range(rng.randint(1, 3)):
        chance.start()
    for _ in range(rng.randint(1, 40)):
        chance.step()
    for what, old, new, kind in chance.moves:
        if old == "":
            assert kind in BORN[what, new]
            continue
        table = (
            EXECUTION_MOVES.get(ExecutionStatus(old), frozenset())
            if what == "execution"
            else SEGMENT_MOVES.get(SegmentStatus(old), frozenset())
        )
        assert new in table, f"{kind} moved {what} from {old} to {new}"
        assert kind in page[what, old, new], f"{kind} moved {what} from {old} to {new}"
