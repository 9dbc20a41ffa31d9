from __future__ import annotations

from engine import operations as op


def test_a_batch_names_each_execution_it_touches_once_and_in_the_order_of_all_writers() -> None:
    start = op.Start("exec_0", "p", "w", "v", "default", 0, op.Payload(), "{}")
    batch: list[op.Operation] = [
        op.Cancel("exec_2", 0),
        start,
        op.Pause("exec_1", 0),
        op.Wake("exec_2", (), 0),
    ]
    assert op.executions_of(batch) == ["exec_1", "exec_2"]
