from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from engine import catalog
from engine.errors import Conflict, NotFound
from engine.registry import UnknownNodeType
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, node
from tests.workbench import NOW, Workbench

ONE = document([node("a")], name="one", timeout="1m", inputs={"type": "object"})
OTHER = document([node("a"), node("b")], name="one")


def pushed(bench: Workbench, body: dict[str, object], project: str = DEFAULT_PROJECT) -> catalog.Pushed:
    answer = bench.ask(catalog.push(body, bench.registry, bench.clock, project))
    assert isinstance(answer, catalog.Pushed)
    return answer


def test_a_first_push_makes_the_workflow_and_its_version_1(bench: Workbench) -> None:
    made = pushed(bench, {**ONE, "description": "Does it."})
    assert (made.number, made.created, made.changed) == (1, True, True)
    assert bench.query("SELECT id, name, description, enabled, version_id, created_at FROM workflow") == [
        (made.workflow, "one", "Does it.", 1, made.version, NOW)
    ]


def test_the_same_definition_pushed_again_changes_nothing(bench: Workbench) -> None:
    first, again = pushed(bench, ONE), pushed(bench, ONE)
    assert again == catalog.Pushed(first.workflow, first.version, 1, created=False, changed=False)
    assert bench.query("SELECT count(*) FROM workflow_version") == [(1,)]


def test_another_definition_is_the_next_version_and_the_old_one_stays(bench: Workbench) -> None:
    first, second = pushed(bench, ONE), pushed(bench, OTHER)
    assert (second.workflow, second.number, second.created, second.changed) == (
        first.workflow,
        2,
        False,
        True,
    )
    back = pushed(bench, ONE)
    assert (back.version, back.number, back.changed) == (first.version, 1, True)
    assert bench.query("SELECT count(*) FROM workflow_version") == [(2,)]


def test_description_and_state_belong_to_the_workflow_and_make_no_version(bench: Workbench) -> None:
    first = pushed(bench, ONE)
    again = pushed(bench, {**ONE, "description": "New.", "enabled": False})
    assert (again.version, again.changed) == (first.version, False)
    assert bench.query("SELECT description, enabled FROM workflow") == [("New.", 0)]


def test_two_projects_may_have_workflows_of_one_name(bench: Workbench) -> None:
    mine, theirs = pushed(bench, ONE), pushed(bench, ONE, "proj_other")
    assert mine.workflow != theirs.workflow
    assert catalog.active(bench.connection, "one", "proj_other").workflow == theirs.workflow


def test_a_definition_with_an_unknown_type_writes_nothing(bench: Workbench) -> None:
    with pytest.raises(UnknownNodeType):
        catalog.push(document([node("a", "nowhere")]), bench.registry, bench.clock)
    assert bench.query("SELECT count(*) FROM workflow") == [(0,)]


def test_what_starting_needs_is_found_by_id_and_by_name(bench: Workbench) -> None:
    made = pushed(bench, ONE)
    found = catalog.active(bench.connection, "one")
    assert found == catalog.active(bench.connection, made.workflow)
    assert (found.workflow, found.version, found.name) == (made.workflow, made.version, "one")
    assert (found.project, found.queue, found.timeout, found.enabled) == (
        DEFAULT_PROJECT,
        "default",
        60.0,
        True,
    )
    assert found.inputs is not None
    assert catalog.startable(found) is found


def test_a_workflow_that_is_not_there_is_refused_with_a_remedy(bench: Workbench) -> None:
    with pytest.raises(NotFound) as caught:
        catalog.active(bench.connection, "nowhere")
    assert "nowhere" in caught.value.message
    assert caught.value.hint


def test_a_disabled_workflow_is_not_started(bench: Workbench) -> None:
    made = pushed(bench, ONE)
    assert bench.ask(catalog.set_enabled("one", enabled=False, now=NOW + 1)) == made.workflow
    found = catalog.active(bench.connection, "one")
    assert not found.enabled
    with pytest.raises(Conflict, match="disabled"):
        catalog.startable(found)
    bench.ask(catalog.set_enabled(made.workflow, enabled=True, now=NOW + 2))
    assert catalog.active(bench.connection, "one").enabled
    assert bench.query("SELECT updated_at FROM workflow") == [(NOW + 2,)]


def test_an_execution_remembers_how_it_was_started() -> None:
    assert catalog.trigger_event("webhook", "in") == {"type": "webhook", "id": "in"}


def test_a_version_is_read_once_while_its_workflow_is_looked_up_each_time(bench: Workbench) -> None:
    first = pushed(bench, ONE)
    versions = catalog.Versions()
    asked: list[str] = []

    class Counting:
        """A connection that keeps what it is asked."""

        def run(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
            asked.append(sql)
            return bench.connection.run(sql, parameters)

    for _ in range(2):
        assert versions.active(cast("Any", Counting()), "one").version == first.version
    assert len([each for each in asked if "workflow_version" in each]) == 1
    bench.ask(catalog.set_enabled("one", enabled=False, now=NOW))
    assert not versions.active(bench.connection, "one").enabled
    assert versions.active(bench.connection, "one") == catalog.active(bench.connection, "one")


def test_the_versions_least_used_are_let_go(bench: Workbench) -> None:
    versions = catalog.Versions(kept=1)
    for body in (ONE, OTHER, ONE):
        made = pushed(bench, body)
        assert versions.active(bench.connection, "one").version == made.version
    assert len(versions._found) == 1
