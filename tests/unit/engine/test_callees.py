"""Calls of workflows that are not there: a warning where they are pushed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import callees
from tests.builders import document, node
from tests.workbench import Workbench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


def test_what_is_called_by_a_plain_name_and_is_not_there_is_told(bench: Workbench) -> None:
    known = bench.push(document([node("x")], name="known"))
    inside = {"nodes": [node("deep", "workflow", {"workflow": "nowhere"})]}
    undone = node("undone", compensate={"type": "workflow", "config": {"workflow": "gone"}})
    body = document(
        [
            *(
                node(f"n{index}", "workflow", {"workflow": name})
                for index, name in enumerate(["known", known.workflow, "self", "w", "{{ which }}", "lost"])
            ),
            node("call", "workflow", {"definition": inside}),
            {"id": "scope", "type": "scope", "body": {"nodes": [undone]}},
            node("text", "set", {"values": {"workflow": "lost"}}),
        ],
        name="w",
    )
    found = callees.missing(bench.connection, body, bench.registry)
    assert [(each.pointer, each.code, each.severity) for each in found] == [
        ("/definition/nodes/5/config/workflow", "workflow.unknown", "warning"),
        ("/definition/nodes/6/config/definition/nodes/0/config/workflow", "workflow.unknown", "warning"),
        ("/definition/nodes/7/body/nodes/0/compensate/config/workflow", "workflow.unknown", "warning"),
    ]
