"""What follows from the ends of segments: starts, arrivals at joins and containers, instances that are stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine import operations as op
from engine.advance import Address, Arrivals, Completed, advance
from engine.fans import Fan
from engine.fans import Row as Opened
from engine.plan import Plan, Region, Segment, item_in, item_of, split_item
from engine.snapshots import joined_by
from engine.states import ExecutionStatus
from engine.store import statements as sql
from engine.transitions.batch import Batch, Key, Row, is_stopping, journal_row, key_of, let_go, on_item
from engine.transitions.stopping import Closing, conclude, stop
from engine.transitions.stopping import whole as stop_all


@dataclass(slots=True)
class _Waiting:
    """A container's row, with the count of its instances."""

    fan: Fan
    status: str
    epoch: int
    pending: int
    taken: int
    deliveries: int
    head: int
    tries: int
    first_try_at: int | None
    stop: int = 0
    changed: bool = False


@dataclass(slots=True)
class _Started:
    """What one operation starts: segments to be sent, and those its caller goes on with."""

    ready: list[op.Sendable] = field(default_factory=list)
    successors: list[tuple[int, str, op.Claimed]] = field(default_factory=list)
    claims: int = 0

    def settled(self) -> op.Settled:
        """Return it as an answer."""
        return op.Settled(ready=tuple(self.ready), successors=tuple(self.successors))


@dataclass(slots=True)
class Wave:
    """What the operations of one batch bring about in rows of other segments, gathered until it is written at once.

    Rows are keyed, so that none is written twice: two predecessors of one join may end in the same batch.
    """

    batch: Batch
    joins: dict[str, dict[Address, Arrivals]]
    fans: dict[Key, _Waiting]
    segments: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    counts: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    outcomes: list[tuple[Any, ...]] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    closed_at: int = 0
    expiring: list[tuple[Any, ...]] = field(default_factory=list)
    joining: list[tuple[Key, Plan]] = field(default_factory=list)

    def settle(self, row: Row, each: op.Settle, *, stopped: bool) -> op.Settled:
        """Decide what follows from the end of one segment."""
        batch = self.batch
        if row.status is ExecutionStatus.CREATED:
            row.move(ExecutionStatus.RUNNING, each.now)
        if row.final:
            row.count(-1, each.now)
            return op.Settled(finished=str(row.status), reply_to=row.reply_to)
        if stopped or self.is_closed(row.id, each.segment, each.item):
            row.count(-1, each.now)
            let_go(batch, row, each.segment, each.item)
            return op.Settled()
        plan = batch.rules.plan_of(row.version, batch.connection)
        segment = plan.segments[each.segment]
        if each.stops:
            self.close(row, key_of(each), each.now)
        if each.leave:
            return self._arrive(row, plan, each, plan.regions[each.leave])
        if each.leave is None and segment.region and (each.error is not None or segment.ends):
            return self._arrive(row, plan, each, plan.regions[segment.region])
        if each.error is not None or segment.ends or each.leave == 0:
            return self._end(row, each, whole=each.error is None and segment.ends)
        return self._follow(row, plan, each, Completed(each.segment, each.item, self._taken(segment, each)))

    def _end(self, row: Row, each: op.Settle, *, whole: bool) -> op.Settled:
        """Let an execution end, or be about to; unless the `whole` of it was performed, what is left of it stops."""
        row.count(-1, each.now)
        row.dirty = True
        if not whole:
            self._close(each.now, stop_all(self.batch, row))
        if is_stopping(row):
            return op.Settled()
        row.error, row.output = each.error, each.output
        status = ExecutionStatus.SUCCEEDED if each.error is None else ExecutionStatus.FAILED
        ended = conclude(self.batch, row, status, each.now, each.epoch)
        return op.Settled(finished=str(row.status), reply_to=row.reply_to) if ended else op.Settled()

    def spread(self, row: Row, each: op.Spread, fan: Fan, opened: Sequence[Opened]) -> op.Settled:
        """Start the rows that a fan has opened, or look again at one that has moved on since it was looked at."""
        if row.status is ExecutionStatus.CREATED:
            row.move(ExecutionStatus.RUNNING, each.now)
        plan = self.batch.rules.plan_of(row.version, self.batch.connection)
        started = _Started()
        if each.stops:
            self.close(row, key_of(each), each.now)
        region = plan.regions[fan.region]
        for first, last in opened:
            hi = last if region.chunked else None
            self._start(row, plan, each, (region.first, item_of(each.item, first)), started, hi=hi)
        again = not opened and (fan.over or fan.ended != each.ended)
        if again:
            key = key_of(each)
            waiting = self.fans[key]
            waiting.epoch, waiting.head = each.epoch, each.head
            self._start(row, plan, each, (each.segment, each.item), started, container=waiting)
        row.count(len(opened) + again - 1, each.now)
        return started.settled()

    def close(self, row: Row, key: Key, now: int) -> None:
        """Stop the instances of a container's fan."""
        waiting = self.fans.get(key)
        if waiting is None or waiting.fan.closed:
            return
        plan = self.batch.rules.plan_of(row.version, self.batch.connection)
        waiting.fan.closed = waiting.changed = True
        self._close_all(row, plan, waiting.fan.region, key[2], now)

    def refill(self, row: Row, key: Key, now: int) -> op.Settled:
        """Open what a fan has room for after a person has changed it, and let its container be looked at again.

        Whoever looks at the container just now has no word any more: it has seen the fan as it was.
        """
        plan = self.batch.rules.plan_of(row.version, self.batch.connection)
        waiting = self.fans[key]
        waiting.changed = True
        region, started = plan.regions[waiting.fan.region], _Started()
        each = op.Spread(*key, waiting.epoch, pure=True, now=now)
        count = 0
        if waiting.fan.closed and waiting.fan.pending:
            self._close_all(row, plan, region.id, key[2], now)
        for first, last in waiting.fan.open():
            hi = last if region.chunked else None
            self._start(row, plan, each, (region.first, item_of(key[2], first)), started, hi=hi)
            count += 1
        if waiting.status != "waiting" or waiting.fan.over or waiting.fan.watch:
            count += waiting.status == "waiting"
            self._start(row, plan, each, key[1:], started, container=waiting)
        row.count(count, now)
        return started.settled()

    def stop_instance(self, row: Row, key: Key, index: int, now: int) -> None:
        """Stop one instance of a container's fan."""
        plan = self.batch.rules.plan_of(row.version, self.batch.connection)
        region = plan.regions[self.fans[key].fan.region]
        item = item_of(key[2], index)
        self._close(now, Closing(row.id, region.first, region.beyond, item, f"{item}."))

    def is_closed(self, execution: str, segment: int, item: str) -> bool:
        """Whether a segment belongs to an instance that this batch has stopped."""
        return any(each.covers(self.batch, execution, segment, item) for each in self.closings)

    def without_closed(self, each: op.Settle, answer: op.Settled) -> op.Settled:
        """Return an answer without what another operation of the batch has stopped since."""
        if not self.closings:
            return answer
        return replace(
            answer,
            ready=tuple(one for one in answer.ready if not self.is_closed(each.execution, one[0], one[1])),
            successors=tuple(
                one for one in answer.successors if not self.is_closed(each.execution, one[0], one[1])
            ),
        )

    def write(self) -> None:
        """Write everything: rows that are born or changed, then what is stopped."""
        connection = self.batch.connection
        if self.outcomes:
            connection.insert(sql.WRITE_JOURNAL, self.outcomes)
        if self.segments:
            rows = [
                (*fields[:3], "cancelled", *fields[4:9], None, None, fields[11])
                if self.closings and self.is_closed(*fields[:3]) and not self._winds(fields[:3])
                else fields
                for fields in self.segments.values()
            ]
            connection.insert(sql.INSERT_SEGMENT, rows)
        if self.expiring:
            connection.batch(sql.EXPIRES, self.expiring)
        if self.joining:
            taken = joined_by(connection, self.joining)
            connection.batch(sql.JOIN, [(*key, json.dumps(names)) for key, names in taken.items()])
        if self.counts:
            connection.batch(sql.COUNT_JOINS, list(self.counts.values()))
        if changed := [(*key, each.fan.to_text()) for key, each in self.fans.items() if each.changed]:
            connection.batch(sql.COUNT_FANS, changed)
        if self.closings:
            stop(self.batch, self.closings, self.closed_at)

    def _winds(self, key: Key) -> bool:
        """Whether a container that is looked at again has something to do in its end, even if it is stopped."""
        return key in self.fans and key[1] in self.batch.plan(key[0]).owing

    def _taken(self, segment: Segment, each: op.Settle) -> tuple[bool | None, ...]:
        """Return which exits are taken. While items run that a map goes on without, one of them is left open."""
        waiting = self.fans.get(key_of(each))
        if segment.rest is None or waiting is None or waiting.fan.closed or not waiting.fan.pending:
            return each.taken
        return tuple(
            taken if late is None else None for taken, late in zip(each.taken, segment.rest, strict=True)
        )

    def _follow(self, row: Row, plan: Plan, each: op.Settle, completed: Completed) -> op.Settled:
        """Carry out what `advance` decides for one completion."""
        joins = self.joins[row.id]
        decision = advance(plan, joins, [completed])
        joins.update(decision.joins)
        started = _Started()
        for address in decision.ready:
            self._start(row, plan, each, address, started, decision.arrivals(address))
            self._stop_losers(row, plan, each, address)
        more = 0
        for address, arrivals in decision.joins.items():
            if plan.segments[address[0]].join.mode == "each" and not arrivals.decided:
                opened = [entry for place, entry in decision.opened if place == address]
                more += self._open_each(row, plan, each, address, arrivals, opened, started)
            elif address not in decision.ready:
                self._count(row, plan, each, address, arrivals, skipped=address in decision.skipped)
        row.count(len(decision.ready) + more - 1, each.now)
        return started.settled()

    def _open_each(
        self,
        row: Row,
        plan: Plan,
        each: op.Settle,
        address: Address,
        arrivals: Arrivals,
        opened: Sequence[int],
        started: _Started,
    ) -> int:
        """Open an instance for each edge that was taken to a join `each`. Returns how many rows move by it.

        Its row waits from the first of them on, and is looked at when all edges are decided and all instances have ended.
        """
        key = (row.id, *address)
        waiting = self.fans.get(key)
        if waiting is None and not opened:
            self._count(row, plan, each, address, arrivals, skipped=False)
            return 0
        segment = plan.segments[address[0]]
        region = plan.owned[segment.nodes[-1].id][0]
        if waiting is None:
            fan = Fan.of_edges(region.id, segment.entries)
            waiting = self.fans[key] = _Waiting(fan, "waiting", 0, 0, 0, 0, 0, 0, None)
            self.counts.pop(key, None)
            self.segments[key] = (*key, "waiting", segment.queue, 0, 0, 0, each.now, None, None, None)
            told = on_item(address[1], region=region.name, count=segment.entries)
            self.batch.emit(row, 0, each.now, ("node.opened", region.owner, each.now, told))
        waiting.fan.undecided, waiting.changed = arrivals.pending, True
        waiting.pending, waiting.taken = arrivals.pending, arrivals.taken
        self._count(row, plan, each, address, replace(arrivals, decided=True), skipped=False)
        if waiting.fan.closed or waiting.status != "waiting":
            return 0
        for entry in opened:
            waiting.fan.pending += 1
            self._start(row, plan, each, (region.first, item_of(address[1], entry)), started)
        if not waiting.fan.over:
            return len(opened)
        self._start(row, plan, each, address, started, container=waiting)
        return len(opened) + 1

    def _start(
        self,
        row: Row,
        plan: Plan,
        each: op.Follows,
        address: Address,
        started: _Started,
        arrivals: Arrivals | None = None,
        *,
        hi: int | None = None,
        container: _Waiting | None = None,
    ) -> None:
        """Make a segment ready: to be sent, or for the caller to go on with. A container is looked at again."""
        segment, item = address
        key = (row.id, segment, item)
        queue, pure = plan.segments[segment].queue, plan.segments[segment].pure
        status, epoch, owner = "ready", 0, None
        pending, taken = (arrivals.pending, arrivals.taken) if arrivals else (0, 1)
        if container is not None:
            epoch, pending, taken = container.epoch + 1, container.pending, container.taken
            self.batch.emit(row, epoch, each.now, ("segment.ready", segment, each.now, on_item(item)))
        near = queue == plan.segments[each.segment].queue and row.pause_at is None
        asks = plan.segments[segment].limits is not None or plan.segments[segment].milestone is not None
        near = near and (container is not None or not asks)
        if near and len(started.successors) < each.inline and (pure or not started.claims):
            due: int | None = each.now + self.batch.rules.grace
            if not pure:
                due, status, owner = each.now + each.lease, "running", each.owner
                epoch += 1
                started.claims = 1
                claimed = ("segment.claimed", segment, each.now, on_item(item, owner=each.owner))
                self.batch.emit(row, epoch, each.now, claimed)
            handed = op.Claimed(epoch, 0, 0, 0, each.now, None, hi, reached=taken > 0)
            if container is not None:
                handed = op.Claimed(
                    epoch,
                    container.deliveries,
                    container.head,
                    container.tries,
                    each.now,
                    container.first_try_at,
                    fan=container.fan.to_text(),
                    stop=container.stop,
                )
            started.successors.append((segment, item, handed))
        else:
            due, send = self.batch.due(row, queue, each.now)
            if send:
                started.ready.append((segment, item, queue))
        if container is not None:
            container.epoch, container.status = epoch, status
        if (patience := plan.segments[segment].queue_timeout) is not None and status == "ready":
            self.expiring.append((*key, each.now + round(patience * 1000)))
        if plan.segments[segment].collects and container is None:
            self.joining.append((key, plan))
        self.counts.pop(key, None)
        self.segments[key] = (
            *key,
            status,
            queue,
            pending,
            taken,
            epoch,
            each.now,
            due,
            owner,
            hi,
        )

    def _count(
        self, row: Row, plan: Plan, each: op.Settle, address: Address, arrivals: Arrivals, *, skipped: bool
    ) -> None:
        """Note an arrival at a join that does not start by it."""
        key = (row.id, *address)
        if skipped or not arrivals.decided:
            status = "skipped" if arrivals.decided else "blocked"
            queue = plan.segments[address[0]].queue
            self.segments[key] = (
                *key,
                status,
                queue,
                arrivals.pending,
                arrivals.taken,
                0,
                each.now,
                None,
                None,
                None,
            )
        elif key in self.segments:
            self.segments[key] = (
                *self.segments[key][:5],
                arrivals.pending,
                arrivals.taken,
                *self.segments[key][7:],
            )
        else:
            self.counts[key] = (*key, arrivals.pending, arrivals.taken)

    def _arrive(self, row: Row, plan: Plan, each: op.Settle, region: Region) -> op.Settled:
        """Count the end of an instance, or of a chunk of them, at the container that waits for it.

        What an instance comes to that ends before its last node is written only here, where it is counted: another end that
        comes later is nobody's.
        """
        item = item_in(each.item, region.depth)
        parent, _ = split_item(item)
        started = _Started()
        if each.error is not None or each.leave is not None:
            status = "failed" if each.error is not None else "left" if each.closes else "succeeded"
            end = op.Entry(
                region.end,
                status,
                output=each.output,
                error=each.error,
                started_at=each.now,
                ended_at=each.now,
            )
            self.outcomes.append(journal_row(row.id, item, each.epoch, end))
            if region.beyond - region.first > 1:
                self._close(each.now, Closing(row.id, region.first, region.beyond, item, f"{item}."))
        key = (row.id, plan.owner_of(region), parent)
        waiting = self.fans.get(key)
        count = 0
        if waiting is not None and waiting.fan.region == region.id and not waiting.fan.closed:
            fan = waiting.fan
            if waiting.status == "done":
                return self._trail(row, plan, each, key[1:], waiting)
            fan.arrive(each.failures if each.error is None else 1)
            fan.closed = fan.closed or each.closes
            waiting.changed = True
            if fan.closed and fan.pending:
                self._close_all(row, plan, region.id, parent, each.now)
            for first, last in fan.open():
                hi = last if region.chunked else None
                self._start(row, plan, each, (region.first, item_of(parent, first)), started, hi=hi)
                count += 1
            if waiting.status == "waiting" and (fan.over or fan.watch):
                self._start(row, plan, each, key[1:], started, container=waiting)
                count += 1
        row.count(count - 1, each.now)
        return started.settled()

    def _trail(
        self, row: Row, plan: Plan, each: op.Settle, address: Address, waiting: _Waiting
    ) -> op.Settled:
        """Count an end that a map did not wait for. With the last of them the region around may end."""
        waiting.fan.pending -= 1
        waiting.changed = True
        late = plan.segments[address[0]].rest
        if waiting.fan.pending == 0 and late is not None:
            return self._follow(row, plan, each, Completed(*address, late))
        row.count(-1, each.now)
        return op.Settled()

    def _stop_losers(self, row: Row, plan: Plan, each: op.Settle, address: Address) -> None:
        """Stop what could only have led to a join that starts without it."""
        number, item = address
        inside = f"{item}." if item else ""
        for loser in plan.segments[number].losers:
            self._close(each.now, Closing(row.id, loser, loser + 1, item, f"{item}."))
            for node in plan.segments[loser].nodes:
                if node.id in plan.inside:
                    self._close(each.now, Closing(row.id, *plan.inside[node.id], item, inside))

    def _close_all(self, row: Row, plan: Plan, region: int, parent: str, now: int) -> None:
        found = plan.regions[region]
        inside = f"{parent}." if parent else ""
        self._close(now, Closing(row.id, found.first, found.beyond, parent, inside))

    def _close(self, now: int, closing: Closing) -> None:
        self.closings.append(closing)
        self.closed_at = max(self.closed_at, now)


def load_fans(batch: Batch, keys: Iterable[Key]) -> dict[Key, _Waiting]:
    """Read the rows of containers that wait for instances."""
    return {
        fields[:3]: _Waiting(Fan.from_text(fields[12]), *fields[3:12])
        for fields in batch.connection.batch(sql.FANS, list(keys))
        if fields[12] is not None
    }
