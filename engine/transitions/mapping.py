"""What a person does to a map that runs: more items, fewer items, or no more waiting for them."""

from __future__ import annotations

import json

from celeriac import Json
from engine import operations as op
from engine.containers import SLICE, tolerated
from engine.definition import ForEach
from engine.encoding import place
from engine.fans import Fan
from engine.plan import Plan, Region, item_of
from engine.snapshots import items_of
from engine.states import ACTIVE
from engine.store import statements as sql
from engine.transitions.batch import Batch, Key, is_stopping, journal_row, keep, on_item
from engine.transitions.wave import Wave, load_fans
from engine.withdrawals import Refusal


def change_items(batch: Batch, changes: list[op.ChangeItems]) -> list[op.ItemsChanged | Refusal]:
    """Change the fan of maps, and open or stop what follows from it."""
    answers = []
    for each in changes:
        wave = Wave(batch, {}, load_fans(batch, [(each.execution, each.segment, each.item)]))
        answers.append(_change(batch, wave, each))
        wave.write()
    return answers


def _change(batch: Batch, wave: Wave, each: op.ChangeItems) -> op.ItemsChanged | Refusal:
    row, key = batch.rows[each.execution], (each.execution, each.segment, each.item)
    plan = batch.rules.plan_of(row.version, batch.connection)
    container, waiting = plan.nodes[each.node].container, wave.fans.get(key)
    if is_stopping(row):
        return Refusal.ENDED
    if container is None or container.each is None or waiting is None:
        return Refusal.NO_MAP
    fan, region = waiting.fan, plan.regions[container.body]
    if waiting.status not in (*ACTIVE, "waiting") or fan.closed or _is_stopped(batch, key):
        return Refusal.NO_MAP
    values = _batched([json.loads(text) for text in each.add], container.each.batch)
    if fan.count + len(values) > each.most:
        return Refusal.TOO_MANY
    if each.cancel and region.chunked:
        return Refusal.IN_CHUNK
    if any(not 0 <= index < fan.count for index in each.cancel):
        return Refusal.NO_ITEM
    if values:
        _add(batch, each, container.each, fan, region, values)
    cancelled = _cancel(batch, wave, each, key, plan)
    if each.complete:
        wave.close(row, key, each.now)
    settled = wave.refill(row, key, each.now)
    told: dict[str, object] = {
        "added": len(values),
        "cancelled": cancelled,
        "complete": each.complete,
        "by": each.principal,
    }
    batch.emit(row, 0, each.now, ("node.items_changed", each.node, each.now, on_item(each.item, **told)))
    return op.ItemsChanged(fan.count, tuple(cancelled), settled.ready)


def _add(
    batch: Batch, each: op.ChangeItems, map_: ForEach, fan: Fan, region: Region, values: list[Json]
) -> None:
    """Journal further items, by slices as they will be read; the last one that was there may have room for some."""
    first = fan.count - fan.count % SLICE
    if region.chunked:
        planned = fan.planned()
        partial = (
            bool(planned)
            and planned[-1].last == fan.count - 1
            and planned[-1].last - planned[-1].first + 1 < fan.size
        )
        first = planned[-1].first if partial else fan.count
    size = fan.size if region.chunked else SLICE
    name, rows = items_of(region), []
    if first < fan.count:
        values = [*_stored(batch, each.execution, name, item_of(each.item, first)), *values]
    for start in range(0, len(values), size):
        text = json.dumps(values[start : start + size], ensure_ascii=False, separators=(",", ":"))
        payload, blob = place(text, each.blob_from)
        keep(batch, [blob] if blob else [], each.now)
        entry = op.Entry(name, "items", output=payload, started_at=each.now)
        rows.append(journal_row(each.execution, item_of(each.item, first + start), 0, entry))
    batch.connection.insert(sql.WRITE_JOURNAL, rows)
    fan.count = first + len(values)
    fan.tolerate = tolerated(map_, fan.count)


def _cancel(batch: Batch, wave: Wave, each: op.ChangeItems, key: Key, plan: Plan) -> list[int]:
    """Let items fail that have not ended. Returns them."""
    if not each.cancel:
        return []
    row, fan = batch.rows[each.execution], wave.fans[key].fan
    end = plan.regions[fan.region].end
    places = {item_of(each.item, index): index for index in sorted(set(each.cancel))}
    asked = [(each.execution, end, item) for item in places]
    over = {fields[0] for fields in batch.connection.batch(sql.ENDED_ITEMS, asked)}
    entry = op.Entry(end, "failed", error=each.error, started_at=each.now, ended_at=each.now)
    rows, cancelled = [], []
    for item, index in places.items():
        if item in over:
            continue
        rows.append(journal_row(each.execution, item, 0, entry))
        cancelled.append(index)
        if index >= fan.opened:
            fan.leave_out(index)
            fan.pending += 1
        else:
            wave.stop_instance(row, key, index, each.now)
        fan.arrive(1)
    if rows:
        batch.connection.insert(sql.WRITE_JOURNAL, rows)
    return cancelled


def _stored(batch: Batch, execution: str, name: str, item: str) -> list[Json]:
    ((_, _, output, blob, _),) = batch.connection.batch(sql.COMPLETED, [(execution, name, item)])
    text = batch.connection.batch(sql.BLOBS, [(blob,)])[0][1] if blob else output
    found: list[Json] = json.loads(text)
    return found


def _batched(values: list[Json], size: int) -> list[Json]:
    return values if size == 1 else [values[index : index + size] for index in range(0, len(values), size)]


def _is_stopped(batch: Batch, key: Key) -> bool:
    return any(fields[5] for fields in batch.connection.batch(sql.STANDING, [key]))
