"""What a person takes back from whoever has it: one node run, or items of a map that runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from engine import operations as op
from engine.fans import Fan
from engine.plan import item_of
from engine.store import holds
from engine.store import statements as sql
from engine.store.database import Connection
from engine.transitions import signalling
from engine.transitions.asking import cancel
from engine.transitions.batch import Batch, Key, is_paused, is_stopping, journal_row, on_item
from engine.transitions.wave import Wave, load_fans
from engine.withdrawals import Refusal, Standing, against, fails_body


def withdraw(batch: Batch, withdrawals: list[op.Withdraw]) -> list[list[op.Sendable] | Refusal]:
    """Give node runs the outcome a person says: -> ready, with a new fence, so that no word of an earlier holder counts."""
    standings = _standings(batch, withdrawals)
    answers: list[list[op.Sendable] | Refusal] = []
    rows, entries, won = [], [], []
    taken: set[Key] = set()
    for each in withdrawals:
        key, row = (each.execution, each.segment, each.item), batch.rows[each.execution]
        plan = batch.rules.plan_of(row.version, batch.connection)
        segment = plan.segments[each.segment]
        refusal = Refusal.ENDED if is_stopping(row) else Refusal.OVER if key in taken else None
        standing = standings.get(key)
        refusal = refusal or against(plan, segment, each.node, standing, skips=each.error is None)
        if standing is not None and standing.child not in (None, each.child):
            refusal = refusal or Refusal.NOT_ACTIVE  # it has called something else since it was looked at
        if refusal is not None or standing is None:
            answers.append(refusal or Refusal.NOT_ACTIVE)
            continue
        taken.add(key)
        won.append((each, standing))
        entries.append(_entry(batch, each, standing))
        paused = is_paused(batch, each.execution)
        due = None if paused else each.now + batch.rules.grace
        rows.append((*key, standing.epoch, each.now, due))
        if standing.status in ("waiting", "backing_off"):
            row.count(1, each.now)
        kind = "node.cancelled" if each.error is not None else "node.skipped"
        body = on_item(each.item, by=each.principal, reason=each.reason)
        batch.emit(row, 0, each.now, (kind, each.node, each.now, body))
        answers.append([] if paused else [(each.segment, each.item, segment.queue)])
    if won:
        batch.connection.batch(sql.WITHDRAW, rows)
        batch.connection.insert(sql.WRITE_JOURNAL, entries)
        _close(batch, won)
        _leave(batch, won)
    return answers


def _close(batch: Batch, won: Sequence[tuple[op.Withdraw, Standing]]) -> None:
    """Stop the instances of containers that were withdrawn."""
    keys = [(each.execution, each.segment, each.item) for each, standing in won if standing.fan is not None]
    if not keys:
        return
    wave = Wave(batch, {}, load_fans(batch, keys))
    for each, standing in won:
        if standing.fan is not None:
            key = (each.execution, each.segment, each.item)
            wave.fans[key].fan.failed += each.error is not None
            wave.close(batch.rows[each.execution], key, each.now)
    wave.write()


def _leave(batch: Batch, won: Sequence[tuple[op.Withdraw, Standing]]) -> None:
    """Give up what withdrawn node runs waited for: signals, places in queues, and what they have called."""
    for each, _ in won:
        signalling.withdraw(batch, [(each.execution, each.segment, each.item)], each.now)
    batch.connection.batch(holds.LEAVE_QUEUE, [(each.execution, each.segment, each.item) for each, _ in won])
    called = {standing.child: each.now for each, standing in won if standing.child in batch.rows}
    cancel(
        batch,
        [op.Cancel(child, now, "What called it was withdrawn.") for child, now in called.items() if child],
    )


def _entry(batch: Batch, each: op.Withdraw, standing: Standing) -> tuple[object, ...]:
    """Return the row of the journal that gives a withdrawn node run its outcome."""
    plan = batch.rules.plan_of(batch.rows[each.execution].version, batch.connection)
    node = plan.nodes[each.node]
    entry = op.Entry(
        each.node,
        "skipped",
        str(node.effect),
        output=each.output,
        started_at=each.now,
        ended_at=each.now,
    )
    item = each.item
    if each.error is not None and fails_body(node, standing.fan):
        fan = standing.fan or Fan(0, 0, 0, 0, 0, 0)
        item = item_of(each.item, 0)
        entry = replace(entry, node=plan.regions[fan.region].end, status="failed", error=each.error)
    elif each.error is not None:
        entry = replace(entry, status="failed", error=each.error)
        if node.on_error.action == "continue":
            default = op.Payload(json.dumps(node.on_error.default))
            entry = replace(entry, status="continued", output=default)
    elif each.output.text is not None:
        entry = replace(entry, status="succeeded")
    return journal_row(each.execution, item, standing.epoch + 1, entry)


def _standings(batch: Batch, withdrawals: Sequence[op.Withdraw]) -> dict[Key, Standing]:
    """Read the rows of segments and what their nodes have journaled."""
    connection = batch.connection
    keys = sorted({(each.execution, each.segment, each.item) for each in withdrawals})
    places: dict[tuple[str, str, str], Key] = {}
    for execution, number, item in keys:
        plan = batch.rules.plan_of(batch.rows[execution].version, connection)
        for node in plan.segments[number].nodes:
            places[(execution, node.id, item)] = (execution, number, item)
    outcomes: dict[Key, dict[str, str]] = {key: {} for key in keys}
    intents: dict[Key, set[str]] = {key: set() for key in keys}
    for execution, node, item, step, status, output, blob, *_ in connection.batch(
        sql.OUTPUTS, sorted(places)
    ):
        key = places[(execution, node, item)]
        if status == "intent":
            intents[key].add(node)
        elif status == "pack":
            outcomes[key] |= {name: "succeeded" for name, _ in json.loads(_text(connection, output, blob))}
        elif not step:
            outcomes[key][node] = status
    return {
        fields[:3]: Standing(
            fields[3],
            fields[4],
            bool(fields[5]),
            fields[6] is not None,
            None if fields[7] is None else Fan.from_text(fields[7]),
            outcomes[fields[:3]],
            intents[fields[:3]],
            fields[8],
        )
        for fields in connection.batch(sql.STANDING, keys)
    }


def _text(connection: Connection, output: str | None, blob: str | None) -> str:
    return str(connection.batch(sql.BLOBS, [(blob,)])[0][1] if blob else output)
