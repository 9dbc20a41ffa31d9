"""Limits at work: who is let in under a key, who waits, and to whom a slot goes that somebody leaves.

Whoever asks is answered in the transaction that claims its segment, and whoever ends gives its slot to the next one in the
transaction that ends it. Keys are locked after executions, all at once and in order, so that no two transactions wait for
each other. The next one may be another execution's, whose row is locked only when nobody else has it: otherwise it has its
slot all the same, and a poller tells it so.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine import operations as op
from engine.holds import QUEUE_FULL, REJECTED, Concurrency, admitted, take_token
from engine.states import ExecutionStatus
from engine.store import holds as sql
from engine.transitions.batch import Batch, Key, Row, may_run, on_item, unsent
from engine.transitions.starting import accept, known_keys

Name = tuple[str, str]
"""(project, key)."""

WHOLE = -1
"""Stands for the segment where a whole execution holds a key."""

_FURTHER = 100
"""How many of a queue are looked at when a poller finds that a slot is free."""


def let_in(batch: Batch, claims: dict[Key, op.Claim]) -> dict[Key, str]:
    """Leave only those claims that may go on now, and let the others wait. Returns who is refused, and why.

    Who is refused claims its segment as well: as any other failure of a node, this one has to be dealt with.
    """
    limited = [key for key, each in claims.items() if each.concurrency is not None or each.rate is not None]
    return _Turn(batch).take(claims, limited) if limited else {}


def pass_on(batch: Batch) -> None:
    """Give the slots that were left to whoever waits for them, and put those into an answer that somebody sends by.

    Then starts with a limit are answered as well. Claims of the same batch have done all that already.
    """
    if not batch.limits_met and (
        batch.limited_starts or any(row.limited and row.dirty for row in batch.rows.values())
    ):
        _Turn(batch).take({}, [])
    if batch.admitted:
        answers = batch.answers
        index = next(index for index, each in enumerate(answers) if isinstance(each, op.Settled))
        answers[index] = replace(answers[index], admitted=tuple(batch.admitted))


def admit(batch: Batch, admits: list[op.Admit]) -> list[None]:
    """Look again at what executions wait for; the batch then passes on what is free."""
    for row in [batch.rows[each.execution] for each in admits if each.execution in batch.rows]:
        row.dirty = True
    return [None] * len(admits)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Somebody who asks for a slot: now, with a claim, or waiting for it already."""

    place: Key
    order: tuple[int, int]
    most: int
    queue: str = ""
    limit: Concurrency | None = None

    @property
    def waits(self) -> bool:
        """Whether it waits when there is no slot."""
        return self.limit is None or self.limit.strategy != "reject"


@dataclass(slots=True)
class _Turn:
    """One batch at its limits. Everything is read first, then decided, then written."""

    batch: Batch
    now: int = 0
    looked: set[Name] = field(default_factory=set)
    asking: dict[Name, list[_Asking]] = field(default_factory=lambda: defaultdict(list))
    freed: dict[Name, int] = field(default_factory=lambda: defaultdict(int))
    untold: list[tuple[Key, str]] = field(default_factory=list)
    taken: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    left: list[Key] = field(default_factory=list)
    parked: dict[Key, tuple[int | None, str]] = field(default_factory=dict)
    refused: dict[Key, str] = field(default_factory=dict)
    resting: dict[str, int | None] = field(default_factory=dict)
    standing: dict[Name, str] = field(default_factory=dict)
    coalesced: dict[str, str] = field(default_factory=dict)

    def take(self, claims: dict[Key, op.Claim], limited: Sequence[Key]) -> dict[Key, str]:
        """Do everything; take those out of the claims who cannot go on. Returns who is refused, and why."""
        batch, connection = self.batch, self.batch.connection
        batch.limits_met = True
        self.now = max(getattr(each, "now", 0) for each in batch.asked)
        there = {fields[:3]: fields[3:] for fields in connection.batch(sql.ASKED, limited)}
        for key in limited:
            if key not in there:
                del claims[key]
        rates: dict[Name, list[Key]] = defaultdict(list)
        for index, key in enumerate(there):
            claim, row = claims[key], batch.rows[key[0]]
            if claim.concurrency is not None and not there[key][1]:
                order = (-row.priority, self.now * 1000 + index)
                name = (row.project, claim.concurrency.key)
                self.asking[name].append(
                    _Asking(key, order, claim.concurrency.limit, limit=claim.concurrency)
                )
            if claim.rate is not None:
                rates[row.project, claim.rate.key].append(key)
        starts = batch.limited_starts
        for index, start in enumerate(self._new(starts), len(there)):
            if start.concurrency is not None:
                order = (-start.priority, self.now * 1000 + index)
                asking = _Asking(
                    (start.execution, WHOLE, ""), order, start.concurrency.limit, limit=start.concurrency
                )
                self.asking[start.project, start.concurrency.key].append(asking)
        self._look_around()
        ended = self._ended()
        locked = {(each.project, each.rate.key) for each in starts if each.rate is not None}
        self._lock({*self.asking, *self.looked, *(name for _, name in ended)}, {*rates, *locked})
        for project, key, granted in connection.batch(sql.GIVE_BACK, [place for place, _ in ended]):
            self.freed[project, key] += granted
        admitted_later = self._decide()
        for name, places in rates.items():
            self._draw(name, [claims[each] for each in places], {each: there[each][2] for each in places})
        started = self._accept(starts)
        self._write(claims)
        self._admit(admitted_later)
        self._answer_starts(starts, started)
        return self.refused

    def _new(self, starts: Sequence[op.Start]) -> list[op.Start]:
        """Leave out those whose idempotency key has started an execution before."""
        known = {*known_keys(self.batch, starts)}
        found = []
        for each in starts:
            key = (each.project, each.idempotency_key)
            if each.idempotency_key is None or key not in known:
                found.append(each)
                known.add(key)
        return found

    def _accept(self, starts: Sequence[op.Start]) -> dict[str, op.Started]:
        """Accept those that are not turned away; who may not begin yet rests."""
        accepted = [
            each
            for each in starts
            if (each.execution, WHOLE, "") not in self.refused and each.execution not in self.coalesced
        ]
        for each in accepted:
            if each.rate is not None:
                name = (each.project, each.rate.key)
                expected = next((row[2] for row in self.batch.connection.batch(sql.EXPECTED, [name])), None)
                at, expected = take_token(each.rate, expected, self.now)
                self.batch.connection.batch(sql.EXPECT, [(*name, expected)])
                if at > self.now:
                    self.resting.setdefault(each.execution, at)
        answers = accept(self.batch, accepted, self.resting) if accepted else []
        started = {each.execution: answer for each, answer in zip(accepted, answers, strict=True)}
        for execution, answer in started.items():
            if not answer.new:
                self.taken.pop((execution, WHOLE, ""), None)
        return started

    def _answer_starts(self, starts: Sequence[op.Start], started: dict[str, op.Started]) -> None:
        places = {id(each): index for index, each in enumerate(self.batch.asked)} if starts else {}
        for each in starts:
            answer = started.get(each.execution)
            if each.execution in self.coalesced:
                answer = op.Started(self.coalesced[each.execution], new=False)
            elif answer is None:
                answer = op.Started("", new=False, refused=self.refused[each.execution, WHOLE, ""])
            limit = each.concurrency
            if limit is not None and limit.strategy == "cancel_oldest" and answer.new:
                rows = self.batch.connection.run(sql.OUTDONE, (each.project, limit.key, limit.limit))
                answer = replace(answer, outdone=tuple(row[0] for row in rows))
            self.batch.answers[places[id(each)]] = answer

    def _look_around(self) -> None:
        """Find what executions wait for that a poller has asked to look at."""
        names = sorted({each.execution for each in self.batch.asked if isinstance(each, op.Admit)})
        for fields in self.batch.connection.batch(sql.OF_EXECUTION, [(each,) for each in names]):
            *place, project, key, granted, queue, untold = fields
            if untold:
                self.untold.append(((place[0], place[1], place[2]), queue))
            elif not granted:
                self.looked.add((project, key))

    def _ended(self) -> list[tuple[Key, Name]]:
        """Find the slots whose holders have ended, and the places of those that were stopped while they waited."""
        asked = {each.execution for each in self.batch.asked if isinstance(each, op.Admit)}
        some: list[tuple[str, int]] = []
        every: list[tuple[str, int]] = []
        for row in self.batch.rows.values():
            if row.limited and row.dirty:
                thorough = row.final or row.ends_as is not None or row.id in self.batch.thinned
                (every if thorough or row.id in asked else some).append((row.id, int(row.final)))
        found = self.batch.connection.batch(sql.ENDED, some)
        found = [*found, *self.batch.connection.batch(sql.ENDED_OR_GONE, every)]
        return [
            ((execution, segment, item), (project, key)) for execution, segment, item, project, key in found
        ]

    def _lock(self, names: Iterable[Name], rates: Iterable[Name]) -> None:
        if self.batch.connection.dialect == "postgresql":
            numbers = {_number("hold", *each) for each in names} | {_number("rate", *each) for each in rates}
            self.batch.connection.batch(sql.LOCK_KEYS, [(each,) for each in sorted(numbers)])

    def _decide(self) -> list[_Asking]:
        """Decide for each key who is let in. Returns those who have waited for it."""
        connection = self.batch.connection
        names = sorted({*self.asking, *self.looked, *(name for name, count in self.freed.items() if count)})
        found: list[_Asking] = []
        for project, key, held, waits in connection.batch(sql.STANDING, names):
            name = (project, key)
            asking = self.asking.get(name, [])
            if waits:
                most = self.freed[name] + len(asking) + (_FURTHER if name in self.looked else 1)
                asking = [*asking, *(_waiting(row) for row in connection.run(sql.NEXT, (project, key, most)))]
            inside = list(admitted(held, sorted(asking, key=lambda each: each.order)))
            found += [each for each in inside if each.limit is None]
            self._answer(name, inside)
        return found

    def _answer(self, name: Name, inside: Sequence[_Asking]) -> None:
        """Note what becomes of those who ask for a key now."""
        let = {each.place for each in inside}
        queued: int | None = None
        for each in self.asking.get(name, ()):
            limit = each.limit
            if limit is None:
                continue
            if each.place not in let:
                if limit.strategy == "reject":
                    self.refused[each.place] = REJECTED
                    continue
                if limit.strategy == "coalesce" and (other := self._standing(name)) is not None:
                    self.coalesced[each.place[0]] = other
                    continue
                if limit.max_queued is not None:
                    if queued is None:
                        ((_, _, queued),) = self.batch.connection.batch(sql.QUEUED, [name])
                    if queued >= limit.max_queued:
                        self.refused[each.place] = QUEUE_FULL
                        continue
                    queued += 1
                if each.place[1] == WHOLE:
                    self.resting[each.place[0]] = None
                    self.standing.setdefault(name, each.place[0])
                else:
                    self.parked[each.place] = (None, name[1])
            self._take(each.place, name, limit.limit, each.order, granted=each.place in let)

    def _standing(self, name: Name) -> str | None:
        """Return the execution that waits for a key already, and stands for all that come."""
        if name not in self.standing:
            for row in self.batch.connection.run(sql.STANDING_FOR_OTHERS, name):
                self.standing[name] = row[0]
        return self.standing.get(name)

    def _take(
        self,
        place: Key,
        name: Name,
        most: int,
        order: tuple[int, int],
        *,
        granted: bool = True,
        until: int | None = None,
    ) -> None:
        self.taken[place] = (*place, *name, most, int(granted), *order, until)

    def _draw(self, name: Name, claims: Sequence[op.Claim], tokens: dict[Key, int | None]) -> None:
        """Take tokens of a rate for those who are let in; who has to wait for its own rests until then."""
        expected = next((row[2] for row in self.batch.connection.batch(sql.EXPECTED, [name])), None)
        before = expected
        for index, claim in enumerate(claims):
            place = (claim.execution, claim.segment, claim.item)
            if place in self.refused or place in self.parked or claim.rate is None:
                continue
            until = tokens[place]
            if until is None:
                at, expected = take_token(claim.rate, expected, self.now)
                if at <= self.now:
                    continue
                until = at
                self.parked[place] = (at, name[1])
            else:
                until = None
            if claim.concurrency is not None:
                limit = claim.concurrency
                key = (name[0], limit.key)
                self._take(place, key, limit.limit, (0, self.now * 1000 + index), until=until)
            elif until is None:
                self.left.append(place)
            else:
                self._take(place, (name[0], ""), 0, (0, 0), until=until)
        if expected != before:
            self.batch.connection.batch(sql.EXPECT, [(*name, expected)])

    def _write(self, claims: dict[Key, op.Claim]) -> None:
        """Write who holds a key and who waits, and let these rest."""
        batch, connection = self.batch, self.batch.connection
        connection.batch(sql.GIVE_BACK, self.left)
        connection.batch(sql.TAKE, [self.taken[place] for place in sorted(self.taken)])
        rows = batch.rows
        new = sorted({place[0] for place in self.taken if place[0] not in rows or not rows[place[0]].limited})
        connection.batch(sql.LIMIT_EXECUTIONS, [(each,) for each in new])
        for name in rows.keys() & new:
            rows[name].limited = 1
        connection.batch(sql.PARK, [(*place, due) for place, (due, _) in self.parked.items()])
        for place, (due, key) in self.parked.items():
            row = batch.rows[place[0]]
            row.count(-1, self.now)
            more = {"key": key} if due is None else {"key": key, "until": due}
            batch.emit(row, 0, self.now, ("segment.limited", place[1], self.now, on_item(place[2], **more)))
            del claims[place]

    def _admit(self, waiting: Sequence[_Asking]) -> None:
        """Grant slots to those who have waited, and let them go on as far as their executions are at hand."""
        batch, connection = self.batch, self.batch.connection
        wanted = {each.place[0] for each in waiting} - batch.rows.keys()
        for fields in connection.batch(sql.LOCK_FREE_EXECUTIONS, [(each,) for each in sorted(wanted)]):
            id_, project, version, status, *rest = fields
            batch.rows[id_] = Row(id_, project, version, ExecutionStatus(status), *rest)
        granted = [
            each for each in waiting if each.place[0] not in batch.rows or may_run(batch, each.place[0])
        ]
        connection.batch(sql.GRANT, [each.place for each in granted])
        told = [*self.untold, *((each.place, each.queue) for each in granted)]
        sends = any(isinstance(each, op.Settled) for each in batch.answers)
        rows: dict[Key, tuple[int | None, bool, str]] = {}
        for (execution, segment, item), queue in told:
            if may_run(batch, execution):
                row = batch.rows[execution]
                due, send = batch.due(row, queue, self.now) if sends else (unsent(row, self.now), False)
                rows[execution, max(segment, 0), item] = (due, send, queue)
        admits = [(*place, self.now, due) for place, (due, _, _) in rows.items()]
        for place in connection.batch(sql.ADMIT, admits):
            execution, segment, item = place
            row = batch.rows[execution]
            row.count(1, self.now)
            batch.emit(row, 0, self.now, ("segment.ready", segment, self.now, on_item(item)))
            _, send, queue = rows[place]
            if send:
                batch.admitted.append((execution, (segment, item, queue)))


def _waiting(fields: tuple[Any, ...]) -> _Asking:
    *place, most, queue, rank, at = fields
    return _Asking((place[0], place[1], place[2]), (rank, at), most, queue)


def _number(kind: str, project: str, key: str) -> int:
    """Return the number under which PostgreSQL locks a key."""
    text = f"{kind}\x1f{project}\x1f{key}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)
