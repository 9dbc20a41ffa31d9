from __future__ import annotations

from engine.rehearsal.clock import START
from engine.rehearsal.mocks import Mocks
from engine.rehearsal.stage import Stage
from tests.builders import document, edge, edges, node
from tests.unit.engine.rehearsal.conftest import REGISTRY, Perform

SLOW = {"output": 1, "takes": "60s"}


def get(name: str, **more: object) -> dict[str, object]:
    return node(name, "http_request", {"url": "http://127.0.0.1:9/"}, **more)


def test_a_wait_of_a_year_is_over_at_once(perform: Perform) -> None:
    nodes = [node("a", "wait", {"for": "365d"}), node("b", "transform", {"expression": "now()"})]
    seen = perform(document(nodes, edges("a->b")))
    assert (seen.status, seen.passed) == ("succeeded", 365 * 86_400_000)
    assert str(seen.output).startswith("{'b': '2031-01-01T00:00:00")


def test_branches_take_their_time_side_by_side(perform: Perform) -> None:
    nodes = [get("a"), get("b"), node("c", "wait", {"for": "10s"}), get("d")]
    seen = perform(document(nodes, edges("c->d")), {}, {"*": SLOW})
    assert (seen.status, seen.passed) == ("succeeded", 70_000)


def test_a_pure_node_that_takes_long_is_performed_once(perform: Perform) -> None:
    nodes = [
        node("a", timeout="1h"),
        node("b", "wait", {"for": "1h"}),
        node("c", "wait", {"for": "1m"}),
    ]
    seen = perform(document(nodes, edges("c->b")), {}, {"a": {"takes": "30m", "output": 1}})
    assert [each.node for each in seen.part.calls].count("a") == 1
    assert seen.passed == 61 * 60_000


def test_retries_wait_in_the_time_of_the_test(perform: Perform) -> None:
    retry = {"max_attempts": 3, "on": ["a.*"], "delay": "1h", "factor": 2, "max_delay": "1d", "jitter": 0}
    seen = perform(document([get("a", retry=retry)]), {}, {"a": {"error": {"code": "a.b"}}})
    assert (seen.status, len(seen.part.calls), seen.passed) == ("failed", 3, 3 * 3_600_000)


def test_a_call_that_takes_longer_than_its_timeout_ends_with_it(perform: Perform) -> None:
    nodes = [get("a", timeout="5s", on_error="branch"), node("late")]
    seen = perform(document(nodes, [edge("a", "late", on="timeout")]), {}, {"a": SLOW})
    assert (seen.status, seen.path, seen.passed) == ("succeeded", ["a", "late"], 5000)


def test_an_execution_past_its_own_time_is_stopped_with_what_it_runs(perform: Perform) -> None:
    seen = perform(document([get("a"), get("b")], timeout="30s"), {}, {"a": SLOW, "b": {"output": 1}})
    assert (seen.status, seen.passed) == ("timed_out", 30_000)


def test_a_failure_stops_what_runs_beside_it(perform: Perform) -> None:
    seen = perform(
        document([get("a"), get("b")]), {}, {"a": {"error": {"code": "a.b"}, "takes": "1s"}, "b": SLOW}
    )
    assert (seen.status, seen.passed) == ("failed", 1000)


def test_time_ends_with_the_execution_whatever_is_still_computed(perform: Perform) -> None:
    nodes = [node("slow"), node("bad", "fail", {"message": "No."})]
    seen = perform(document(nodes), {}, {"slow": {"takes": "60s", "output": 1}})
    assert (seen.status, seen.passed) == ("failed", 0)


def test_what_waits_for_a_person_rests(perform: Perform) -> None:
    post = node("a", "http_request", {"url": "http://a", "method": "POST"})
    seen = perform(document([post]), {}, {"a": {"error": {"code": "a.b", "kind": "uncertain"}}})
    assert (seen.status, seen.error and seen.error["code"]) == ("waiting", "effect.uncertain")


def test_an_input_that_does_not_fit_starts_nothing(perform: Perform) -> None:
    seen = perform(document([node("a")], inputs={"type": "object", "required": ["id"]}))
    assert (seen.status, seen.error and seen.error["code"], seen.path) == ("refused", "input.invalid", [])


def test_a_container_stands_in_the_path_before_what_is_inside_it(perform: Perform) -> None:
    body = {"nodes": [node("in")], "edges": []}
    nodes = [node("a"), node("s", "scope", body=body, for_each={"items": "ids"}), node("z")]
    assert perform(document(nodes, edges("a->s->z")), {"ids": [1, 2]}).path == ["a", "s", "in", "z"]
    assert perform(document(nodes, edges("a->s->z")), {"ids": []}).path == ["a", "z", "s"]


def test_two_queues_are_served_alike(perform: Perform) -> None:
    nodes = [node("a"), node("b", queue="other"), node("c", "wait", {"for": "1h"}, queue="third"), node("d")]
    assert perform(document(nodes, edges("a->b->c->d"))).path == ["a", "b", "c", "d"]


def test_each_performance_begins_with_nothing_and_comes_to_the_same() -> None:
    expression = "[now(), uuid(), execution.id]"
    document_ = document([node("a", "transform", {"expression": expression})])
    with Stage(document_, REGISTRY) as stage:
        first, second = (stage.perform({}, Mocks({})) for _ in range(2))
        later = stage.perform({}, Mocks({}), START + 1000)
    assert first.output == second.output
    assert later.output != first.output


def test_thousands_of_items_are_performed(perform: Perform) -> None:
    each = node("a", "transform", {"expression": "item + 1"}, for_each={"items": "range(3000) | list"})
    seen = perform(document([each]))
    assert seen.status == "succeeded", seen.error
