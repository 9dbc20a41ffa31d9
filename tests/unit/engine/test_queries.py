from __future__ import annotations

import json
from typing import Any

import pytest

from engine import catalog, queries, workflow_queries
from engine import operations as op
from engine.errors import Conflict, NotFound
from engine.states import ExecutionStatus
from tests.builders import document, edges, node
from tests.workbench import NOW, Workbench


def versions(bench: Workbench, *names: str) -> None:
    for name in names:
        bench.push(document([node(name)]))


def test_workflows_come_by_name_a_page_at_a_time(bench: Workbench) -> None:
    for name in ("c", "a", "b"):
        bench.push(document([node("n")], name=name))
    first: Any = workflow_queries.workflows(bench.connection, 2)
    assert ([each["name"] for each in first.rows], first.following[:2]) == (["a", "b"], ["name:asc", "b"])
    second = workflow_queries.workflows(bench.connection, 2, behind=("b", first.following[2]))
    assert ([each["name"] for each in second.rows], second.following) == (["c"], None)


def test_a_workflow_is_found_by_name_and_by_id_with_its_active_document(bench: Workbench) -> None:
    active = bench.push(document([node("n")]))
    by_name = workflow_queries.workflow(bench.connection, "w")
    assert by_name == workflow_queries.workflow(bench.connection, active.workflow)
    assert by_name["document"] == document([node("n")])
    assert by_name["version"] == {"id": active.version, "number": 1}


def test_an_unknown_workflow_is_refused_with_the_way_to_the_known_ones(bench: Workbench) -> None:
    with pytest.raises(NotFound) as refused:
        workflow_queries.workflow(bench.connection, "nope")
    assert refused.value.hint == "celeriac workflows list shows what there is."


def test_versions_come_newest_first_and_name_the_active_one(bench: Workbench) -> None:
    versions(bench, "a", "b", "a")
    found = workflow_queries.versions(bench.connection, "w", 5).rows
    assert [(each["number"], each["active"]) for each in found] == [(2, False), (1, True)]


def test_a_version_that_is_not_there_is_refused_with_the_range(bench: Workbench) -> None:
    versions(bench, "a", "b")
    assert workflow_queries.document(bench.connection, "w", 1)[1] == document([node("a")])
    assert workflow_queries.document(bench.connection, "w", None)[0] == 2
    with pytest.raises(NotFound) as refused:
        workflow_queries.document(bench.connection, "w", 7)
    assert refused.value.hint == "It has versions 1 to 2."


@pytest.mark.parametrize("reference", [None, "w"])
def test_executions_come_latest_first_a_page_at_a_time(bench: Workbench, reference: str | None) -> None:
    active = bench.push(document([node("n")]))
    names = []
    for _ in range(5):
        bench.clock.move(1)
        names.append(bench.start(active))
    seen: list[str] = []
    before = None
    while True:
        page = queries.executions(bench.connection, 2, reference=reference, before=before)
        seen += [str(each["id"]) for each in page.rows]
        if page.following is None:
            break
        assert isinstance(page.following, tuple)
        before = page.following
    assert seen == names[::-1]


async def test_executions_are_filtered_by_status(bench: Workbench) -> None:
    active = bench.push(document([node("n")]))
    done = bench.start(active)
    await bench.carry()
    bench.start(active)
    page = queries.executions(bench.connection, 9, status=ExecutionStatus.SUCCEEDED)
    assert [each["id"] for each in page.rows] == [done]


async def test_an_execution_shows_its_result_and_on_request_its_input(bench: Workbench) -> None:
    active = bench.push(document([node("n", "set", {"values": {"x": "{{ a }}"}})]))
    execution = bench.start(active, {"a": 7})
    await bench.carry()
    body = queries.execution(bench.connection, execution, with_input=True)
    assert (body["status"], body["output"], body["input"]) == ("succeeded", {"n": {"x": 7}}, {"a": 7})
    assert body["workflow"] == {"id": active.workflow, "name": "w"}
    assert (body["created_at"], body["duration_ms"]) == (NOW, 0)
    assert "input" not in queries.execution(bench.connection, execution)


async def test_a_large_input_and_output_are_read_from_their_blobs(bench: Workbench) -> None:
    text = "x" * 50_000
    execution = bench.start(
        bench.push(document([node("n", "set", {"values": {"t": "{{ t }}"}})])), {"t": text}
    )
    await bench.carry()
    body = queries.execution(bench.connection, execution, with_input=True)
    assert (body["output"], body["input"]) == ({"n": {"t": text}}, {"t": text})


async def test_a_failure_comes_with_its_remedy(bench: Workbench) -> None:
    execution = bench.start(
        bench.push(document([node("n", "set", {"values": {"x": "{{ nothing_here }}"}})])), {}
    )
    await bench.carry()
    error = queries.execution(bench.connection, execution)["error"]
    assert isinstance(error, dict)
    assert (error["node"], error["hint"]) == ("n", "Correct the expression, and push the definition again.")


async def test_events_are_single_gapless_and_resume_anywhere(bench: Workbench) -> None:
    names = [f"n{number}" for number in range(9)]
    execution = bench.start(bench.push(document([node(each) for each in names], edges("->".join(names)))))
    await bench.carry()
    whole, final = queries.events(bench.connection, execution, 0, 500)
    assert ([each["seq"] for each in whole], final) == (list(range(1, 12)), True)
    assert whole[0]["type"] == "execution.created"
    assert whole[3] == {"seq": 4, "type": "node.succeeded", "node": "n2", "at": NOW, "ms": 0}
    for after in range(12):
        rest, final = queries.events(bench.connection, execution, after, 500)
        assert (rest, final) == (whole[after:], True)
        few, final = queries.events(bench.connection, execution, after, 2)
        assert (few, final) == (whole[after : after + 2], len(whole) - after <= 2)


def test_events_of_an_execution_that_goes_on_are_not_final(bench: Workbench) -> None:
    execution = bench.start(bench.push(document([node("n")])))
    found, final = queries.events(bench.connection, execution, 0, 500)
    assert ([each["type"] for each in found], final) == (["execution.created"], False)


def uncertain(bench: Workbench) -> str:
    """An execution whose one effect has an unknown fate."""
    post = node("charge", "http_request", {"url": "https://example.com", "method": "POST"})
    execution = bench.start(bench.push(document([post])))
    now = bench.clock.now()
    claimed = bench.ask(op.Claim(execution, 0, "", "elsewhere:1:1", now, now + 15_000))
    reason = json.dumps({"node": "charge", "code": "effect.uncertain", "message": "The answer was lost."})
    bench.ask(op.Doubt(execution, 0, "", claimed.epoch, pure=False, now=now, head=1, reason=reason))
    return execution


def quarantined(bench: Workbench) -> str:
    """An execution whose segment took too many processes with it."""
    execution = bench.start(
        bench.push(document([node("a"), node("b", "http_request", {"url": "https://x.org"})], edges("a->b")))
    )
    now = bench.clock.now()
    claimed = bench.ask(op.Claim(execution, 0, "", "elsewhere:1:1", now, now + 15_000))
    bench.ask(op.Lose(execution, ((0, "", claimed.epoch),), now, "It died.", deliveries=0))
    return execution


def test_attention_names_the_reason_and_the_commands_that_help(bench: Workbench) -> None:
    unsure, stuck = uncertain(bench), quarantined(bench)
    found = {each["execution"]: each for each in queries.attention(bench.connection, 9).rows}
    assert set(found) == {unsure, stuck}
    assert (found[unsure]["status"], found[unsure]["node"], found[unsure]["message"]) == (
        "uncertain",
        "charge",
        "The answer was lost.",
    )
    assert f"celeriac attention resolve {unsure} 0 done" in str(found[unsure]["hint"])
    assert (found[stuck]["status"], found[stuck]["code"], found[stuck]["message"]) == (
        "quarantined",
        "segment.quarantined",
        "It died.",
    )


def test_attention_comes_in_pages(bench: Workbench) -> None:
    wanted = sorted([uncertain(bench), quarantined(bench), uncertain(bench)])
    first: Any = queries.attention(bench.connection, 2)
    second = queries.attention(bench.connection, 2, tuple(first.following))
    assert [each["execution"] for each in (*first.rows, *second.rows)] == wanted
    assert second.following is None


def test_a_word_is_about_the_node_in_doubt_or_any_that_may_be_the_cause(bench: Workbench) -> None:
    assert queries.doubtful(bench.connection, uncertain(bench), 0, "").candidates == ("charge",)
    assert queries.doubtful(bench.connection, quarantined(bench), 0, "").candidates == ("a", "b", "@output")


def test_what_waits_for_nobody_takes_no_word(bench: Workbench) -> None:
    execution = bench.start(bench.push(document([node("n")])))
    with pytest.raises(Conflict):
        queries.doubtful(bench.connection, execution, 0, "")
    with pytest.raises(NotFound):
        queries.doubtful(bench.connection, execution, 5, "")


async def test_only_an_ended_execution_is_repeated_and_with_its_own_version(bench: Workbench) -> None:
    active = bench.push(document([node("n")]))
    execution = bench.start(active, {"a": 1})
    with pytest.raises(Conflict) as refused:
        queries.again(bench.connection, execution)
    assert refused.value.hint == f"Stop it first: celeriac executions cancel {execution}"
    await bench.carry()
    bench.push(document([node("other")]))
    bench.ask(catalog.set_enabled("w", enabled=False, now=NOW))
    found, payload = queries.again(bench.connection, execution)
    assert (found.version, found.enabled, payload) == (active.version, False, {"a": 1})


async def test_outputs_of_all_nodes_are_found_in_packs_in_rows_of_their_own_and_in_blobs(
    bench: Workbench,
) -> None:
    nodes = [
        node("a", "transform", {"expression": "1"}),
        node("big", "transform", {"expression": "'x' * 40000"}),
        node("each", "transform", {"expression": "item"}, for_each={"items": "[5]", "concurrency": 1}),
    ]
    name = bench.start(bench.push(document(nodes, edges("a->big->each"))))
    await bench.carry()
    found = queries.outputs(bench.connection, name)
    assert (found["a", ""], len(str(found["big", ""])), found["each", ""]) == (1, 40_000, [5])
    with pytest.raises(NotFound):
        queries.outputs(bench.connection, "exec_none")
