"""What a container decides: every answer to every question it may be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from celeriac import Fail, Json
from engine.containers import CHUNK, Action, Done, Gather, Open, Outcome, Overdue, Stay, catches, decide
from engine.definition import ForEach, Loop, Part
from engine.fans import Fan
from engine.plan import Catch, Container

BODY, UNDO, CATCH, LAST = 1, 2, 3, 4
ERROR: dict[str, Json] = {"code": "x.broken", "message": "It broke."}


def map_(**more: Any) -> Container:
    return Container(BODY, each=ForEach("xs", **more))


def loop(condition: str = "", **more: Any) -> Container:
    return Container(BODY, loop=Loop(condition, **{"until": False, **more}))


def decided(
    container: Container,
    fan: Fan | None = None,
    outcomes: dict[int, list[Outcome]] | None = None,
    *,
    now: int = 0,
    chunked: bool = False,
    most: int = 1_000,
    undone: tuple[int, ...] = (),
    led: tuple[str, ...] = (),
    **answers: Any,
) -> Action:
    """What is decided when the container's expressions have these values; a function sees the names it is given."""

    def ask(name: str, **more: Json) -> Json:
        value = answers[name]
        return value(more) if callable(value) else value  # type: ignore[no-any-return]

    return decide(
        container, ask, fan, outcomes or {}, now=now, chunked=chunked, most=most, undone=undone, led=led
    )


def good(index: int, value: Json = None) -> Outcome:
    return Outcome(index, value)


def bad(index: int, code: str = "x.broken") -> Outcome:
    return Outcome(index, None, {**ERROR, "code": code})


def over(count: int, failed: int = 0, tolerate: int = 0, **more: Any) -> Fan:
    """A fan whose rows have all arrived."""
    made = Fan(BODY, 0, count, 1, 1_000, tolerate, opened=count, ended=count, failed=failed)
    made.closed = failed > tolerate
    for name, value in more.items():
        setattr(made, name, value)
    return made


def going(count: int, ended: int, **more: Any) -> Fan:
    return over(count, pending=count - ended, ended=ended, **more)


def opened(action: Action) -> Open:
    assert isinstance(action, Open)
    return action


# Maps


def test_a_map_opens_its_items() -> None:
    action = opened(decided(map_(), items=[7, 8]))
    assert action.values == [7, 8]
    assert action.fan == Fan(BODY, 0, 2, 1, 1_000, 0)


def test_a_map_of_nothing_is_over_at_once() -> None:
    assert decided(map_(), items=[]) == Done([])
    assert decided(map_(on_item_error="partition"), items=[]) == Done({"succeeded": [], "failed": []})


@pytest.mark.parametrize(
    ("items", "word"), [(None, "null"), ({"a": 1}, "an object"), ("text", "text"), (3, "a number")]
)
def test_what_is_no_list_is_no_items(items: Any, word: str) -> None:
    with pytest.raises(Fail) as raised:
        decided(map_(), items=items)
    assert raised.value.code == "map.items_not_a_list"
    assert f"are {word}," in raised.value.message


def test_a_map_has_a_greatest_size() -> None:
    with pytest.raises(Fail) as raised:
        decided(map_(), items=[1, 2, 3], most=2)
    assert raised.value.code == "map.too_many_items"


def test_a_batch_is_one_item() -> None:
    action = opened(decided(map_(batch=2), items=[1, 2, 3]))
    assert (action.values, action.fan.count) == ([[1, 2], [3]], 2)


@pytest.mark.parametrize(
    ("count", "concurrency", "size", "window"),
    [(3, None, 1, 1_000), (80, None, 10, 100), (80, 25, 10, 3), (80, 5, 10, 1), (100_000, None, CHUNK, 2)],
)
def test_a_cheap_body_is_performed_for_many_items_in_one_go(
    count: int, concurrency: int | None, size: int, window: int
) -> None:
    action = opened(decided(map_(concurrency=concurrency), items=[0] * count, chunked=True, most=count))
    assert (action.fan.size, action.fan.window) == (size, window)


def test_without_chunks_the_window_is_the_concurrency() -> None:
    action = opened(decided(map_(concurrency=3), items=[0] * 9))
    assert (action.fan.size, action.fan.window) == (1, 3)


@pytest.mark.parametrize(
    ("rule", "tolerated"),
    [
        ({}, 0),
        ({"on_item_error": "null"}, 10),
        ({"on_item_error": "drop"}, 10),
        ({"on_item_error": "partition"}, 10),
        ({"tolerate_count": 3}, 3),
        ({"on_item_error": "drop", "tolerate_count": 0}, 0),
        ({"tolerate_percent": 25}, 2),
        ({"tolerate_percent": 0.0}, 0),
    ],
)
def test_so_many_failed_items_are_tolerated(rule: dict[str, Any], tolerated: int) -> None:
    assert opened(decided(map_(**rule), items=[0] * 10)).fan.tolerate == tolerated


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("fail", [1, None, 3]),
        ("null", [1, None, 3]),
        ("drop", [1, 3]),
        ("partition", {"succeeded": [1, 3], "failed": [{"index": 1, "error": ERROR}]}),
    ],
)
def test_the_result_stands_in_the_order_of_the_items_with_failures_as_their_author_wants_them(
    kind: Any, result: Json
) -> None:
    found = {BODY: [good(0, 1), bad(1), good(2, 3)]}
    assert decided(map_(on_item_error=kind), over(3, 1, tolerate=3), found) == Done(result)


def test_one_failure_too_many_is_the_maps_with_the_first_of_them() -> None:
    found = {BODY: [good(0), bad(1, "x.first"), bad(2)]}
    with pytest.raises(Fail) as raised:
        decided(map_(), over(3, 2, tolerate=1), found)
    assert (raised.value.code, raised.value.details) == ("x.first", {"item": 1, "failed": 2, "count": 3})
    assert "Item 1 failed: It broke." in raised.value.message


def test_a_map_that_is_looked_at_too_early_waits_for_more_than_it_has_seen() -> None:
    assert decided(map_(), going(3, 1), {BODY: [good(0)]}) == Stay(1)


def test_until_ends_a_map_with_what_there_is() -> None:
    rule = map_(until="done >= 2 and results")
    assert opened(decided(rule, items=[1])).fan.watch
    seen: list[Any] = []

    def until(names: dict[str, Json]) -> bool:
        seen.append(names)
        return len(seen) > 1

    found = {BODY: [good(0, "a"), bad(3), good(4, "b")]}
    assert decided(rule, going(9, 3, tolerate=9, failed=1), found, until=until) == Stay(3)
    assert decided(rule, going(9, 3, tolerate=9, failed=1), found, until=until) == Done(["a", "b"])
    assert seen[0] == {"results": ["a", "b"], "done": 2, "failed": 1, "count": 9}


def test_until_is_not_asked_of_a_map_of_which_too_many_have_failed() -> None:
    found = {BODY: [bad(0), good(1, "a")]}
    with pytest.raises(Fail, match="Item 0 failed"):
        decided(map_(until="done >= 1"), going(2, 1, failed=1), found, until=True)
    assert decided(map_(until="done >= 1"), going(2, 1, failed=1, tolerate=1), found, until=True) == Done(
        [None, "a"]
    )


def test_until_is_not_asked_before_something_has_ended() -> None:
    assert decided(map_(until="x"), going(2, 0)) == Stay(0)


def test_until_has_to_be_true_or_false() -> None:
    with pytest.raises(Fail) as raised:
        decided(map_(until="done"), going(2, 1), {BODY: [good(0)]}, until=1)
    assert raised.value.code == "expression.not_boolean"


def test_a_map_that_a_person_has_completed_asks_no_more_and_comes_to_what_there_is() -> None:
    found = {BODY: [good(0, "a"), good(1, "b")]}
    assert decided(map_(until="done == 1"), going(9, 2, closed=True), found, until=None) == Done(["a", "b"])


# Loops


def test_a_loop_asks_before_it_begins_and_after_every_iteration() -> None:
    rule = loop()
    asked: list[Any] = []

    def condition(names: dict[str, Json]) -> bool:
        asked.append(names)
        return len(asked) < 3

    first = opened(decided(rule, initial="x", condition=condition))
    assert (first.values, first.fan) == (["x"], Fan(BODY, 0, 1, 1, 1, 0))
    second = opened(decided(rule, over(1), {BODY: [good(0, "y")]}, condition=condition))
    assert (second.values, second.fan.first) == (None, 1)
    assert decided(rule, over(1), {BODY: [good(1, "z")]}, condition=condition) == Done("z")
    assert asked == [{"item": each, "index": index} for index, each in enumerate("xyz")]


def test_a_loop_that_does_not_begin_comes_to_what_it_was_given() -> None:
    assert decided(loop(), initial=5, condition=False) == Done(5)
    assert decided(loop(collect=True), initial=5, condition=False) == Done([])


def test_a_loop_with_until_performs_its_body_once_at_least() -> None:
    rule = loop(until=True)
    assert opened(decided(rule, initial=5)).values == [5]
    assert decided(rule, over(1), {BODY: [good(0, 6)]}, condition=True) == Done(6)
    assert opened(decided(rule, over(1), {BODY: [good(0, 6)]}, condition=False)).fan.first == 1


def test_a_loop_that_collects_gathers_all_iterations() -> None:
    assert decided(loop(collect=True), over(1), {BODY: [good(4, 6)]}, condition=False) == Gather()


def test_a_loop_fails_with_its_iteration() -> None:
    with pytest.raises(Fail) as raised:
        decided(loop(), over(1, 1), {BODY: [bad(3)]})
    assert (raised.value.code, raised.value.details) == ("x.broken", {"iteration": 3})


def test_a_loop_does_not_go_on_for_ever() -> None:
    with pytest.raises(Fail) as raised:
        decided(loop(max_iterations=4), over(1), {BODY: [good(3)]}, condition=True)
    assert raised.value.code == "loop.too_many_iterations"
    assert decided(loop(max_iterations=4), over(1), {BODY: [good(3, 1)]}, condition=False) == Done(1)


def test_a_loop_is_asked_with_true_or_false() -> None:
    with pytest.raises(Fail) as raised:
        decided(loop(), initial=None, condition="yes")
    assert raised.value.code == "expression.not_boolean"


def test_a_loop_waits_for_its_iteration() -> None:
    assert decided(loop(), going(1, 0), {BODY: [good(0)]}) == Stay(0)


# Scopes


def test_a_scope_performs_its_body_and_comes_to_what_that_does() -> None:
    scope = Container(BODY)
    assert opened(decided(scope)) == Open(Fan(BODY, 0, 1, 1, 1, 0))
    assert decided(scope, going(1, 0)) == Stay(0)
    assert decided(scope, over(1), {BODY: [good(0, 5)]}) == Done(5)


def test_a_scopes_failure_is_that_of_its_body() -> None:
    error: dict[str, Json] = {**ERROR, "details": {"k": 1}}
    with pytest.raises(Fail) as raised:
        decided(Container(BODY), over(1, 1), {BODY: [Outcome(0, None, error)]})
    assert (raised.value.code, raised.value.message, raised.value.details) == (
        "x.broken",
        "It broke.",
        {"k": 1},
    )


FULL = Container(BODY, undo=(("a", UNDO), ("b", 5)), catch=(Catch(CATCH, (), ()),), last=LAST)


def test_after_a_failure_comes_what_undoes_it_then_who_catches_it_then_the_end() -> None:
    found: dict[int, list[Outcome]] = {BODY: [bad(0)]}
    for region in (5, UNDO, CATCH, LAST):
        action = opened(decided(FULL, over(1, 1), found, undone=(5, UNDO)))
        assert action.fan.region == region
        assert (action.error is None) is (region == LAST)
        found[region] = [good(0, f"from {region}")]
    assert decided(FULL, over(1), found, undone=(5, UNDO)) == Done(f"from {CATCH}")


def test_after_a_success_only_the_end_follows() -> None:
    found = {BODY: [good(0, 1)]}
    assert opened(decided(FULL, over(1), found)) == Open(Fan(LAST, 0, 1, 1, 1, 0))
    assert decided(FULL, over(1), found | {LAST: [good(0, 2)]}) == Done(1)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({BODY: [bad(0)], CATCH: [bad(0, "x.caught")], LAST: [good(0)]}, "x.caught"),
        ({BODY: [good(0)], LAST: [bad(0, "x.last")]}, "x.last"),
        ({BODY: [bad(0)], CATCH: [bad(0)], LAST: [bad(0, "x.last")]}, "x.last"),
    ],
)
def test_the_last_failure_counts(found: dict[int, list[Outcome]], code: str) -> None:
    with pytest.raises(Fail) as raised:
        decided(FULL, over(1), found)
    assert raised.value.code == code


def test_a_failure_that_nobody_catches_is_still_told_to_what_is_done_in_the_end() -> None:
    scope = Container(BODY, catch=(Catch(CATCH, ("y.*",), ()),), last=LAST)
    action = opened(decided(scope, over(1, 1), {BODY: [bad(0)]}))
    assert (action.fan.region, action.error) == (LAST, ERROR)
    with pytest.raises(Fail) as raised:
        decided(scope, over(1), {BODY: [bad(0)], LAST: [good(0)]})
    assert raised.value.code == "x.broken"


@pytest.mark.parametrize(
    ("on", "excluding", "expected"),
    [
        ((), (), True),
        (("x.broken",), (), True),
        (("x.*",), (), True),
        (("*",), (), True),
        (("y.*", "x.other"), (), False),
        ((), ("x.*",), False),
        (("x.*",), ("x.other",), True),
    ],
)
def test_a_handler_is_for_the_errors_it_names(
    on: tuple[str, ...], excluding: tuple[str, ...], expected: bool
) -> None:
    assert catches(Catch(CATCH, on, excluding), ERROR) is expected


def test_the_first_handler_that_is_for_an_error_takes_it() -> None:
    scope = Container(BODY, catch=(Catch(7, ("y.*",), ()), Catch(8, ("x.*",), ()), Catch(9, (), ())))
    assert opened(decided(scope, over(1, 1), {BODY: [bad(0)]})).fan.region == 8


# Deadlines

TIMED = Container(BODY, timeout=2.5)


def test_a_deadline_begins_with_the_body_and_holds_for_that() -> None:
    assert opened(decided(TIMED, now=1_000)).fan.deadline == 3_500
    each = Container(BODY, each=ForEach("xs"), timeout=1)
    assert opened(decided(each, now=1_000, items=[1])).fan.deadline == 2_000
    again = Container(BODY, loop=Loop("x", until=False), timeout=1)
    first = opened(decided(again, now=1_000, initial=0, condition=True))
    assert first.fan.deadline == 2_000
    following = decided(again, over(1, deadline=2_000), {BODY: [good(0)]}, now=1_500, condition=True)
    assert opened(following).fan.deadline == 2_000


LATE = going(1, 0, deadline=3_500)


@pytest.mark.parametrize(
    "rule", [{"each": ForEach("xs")}, {"loop": Loop("x", until=False)}], ids=["map", "loop"]
)
def test_a_repetition_that_has_not_ended_by_its_deadline_fails(rule: dict[str, Any]) -> None:
    repeated = Container(BODY, timeout=2.5, **rule)
    assert decided(repeated, LATE, now=3_499) == Stay(0)
    with pytest.raises(Fail) as raised:
        decided(repeated, LATE, now=3_500)
    assert (raised.value.code, raised.value.message) == ("node.timeout", "It took longer than 2.5 s.")


def test_the_body_of_a_scope_that_has_not_ended_by_its_deadline_is_stopped_and_has_failed() -> None:
    assert decided(TIMED, LATE, now=3_499) == Stay(0)
    stop = decided(TIMED, LATE, now=3_500)
    assert stop == Overdue({"code": "node.timeout", "message": "It took longer than 2.5 s."})


def test_what_follows_a_failure_follows_a_deadline_too() -> None:
    scope = replace(FULL, timeout=2.5)
    closed = going(1, 0, deadline=3_500, closed=True)
    action = opened(decided(scope, closed, {BODY: [bad(0, "node.timeout")]}, now=4_000, undone=(UNDO,)))
    assert action.fan.region == UNDO
    assert action.fan.deadline is None


def test_what_has_ended_before_it_was_looked_at_has_ended() -> None:
    assert decided(TIMED, over(1, deadline=3_500), {BODY: [good(0, 1)]}, now=9_000) == Done(1)


# Parts.

CIRCLE = Container(BODY, part=Part("circle", "a", ("a", "b"), ("2:b>c",), most=2))
EACH = Container(BODY, part=Part("each", "m", ("m", "n"), (), sources=("a", "b"), shown=("m", "n")))


def edges_of(undecided: int, pending: int = 0) -> Fan:
    return Fan(BODY, 0, 2, 1, 2, 0, pending=pending, undecided=undecided)


def test_a_circle_begins_with_nothing_come_to() -> None:
    assert decided(CIRCLE) == Open(Fan(BODY, 0, 1, 1, 1, 0), [{}])


def test_a_circle_stays_as_long_as_its_round_lasts() -> None:
    assert decided(CIRCLE, replace(over(1), pending=1)) == Stay(1)


def test_a_circle_goes_round_again_when_an_edge_back_was_taken_whatever_else_was() -> None:
    asked = decided(CIRCLE, over(1), {BODY: [good(0, {})]}, led=("2:b>c", "1:b>a"))
    assert asked == Open(Fan(BODY, 1, 1, 1, 1, 0))


def test_a_circle_is_over_when_no_edge_back_was_taken() -> None:
    seen: Json = {"a": {"output": 1}}
    assert decided(CIRCLE, over(1), {BODY: [good(0, seen)]}, led=("2:b>c",)) == Done({"nodes": seen})


def test_a_circle_fails_when_it_would_go_round_too_often() -> None:
    with pytest.raises(Fail) as failed:
        decided(CIRCLE, over(1), {BODY: [good(1, {})]}, led=("1:b>a",))
    assert (failed.value.code, failed.value.details) == ("loop.too_many_iterations", {"node": "a"})


@pytest.mark.parametrize("container", [CIRCLE, EACH])
def test_a_part_fails_as_its_node_has(container: Container) -> None:
    error: dict[str, Json] = {**ERROR, "node": "b", "details": {"more": 1}}
    with pytest.raises(Fail) as failed:
        decided(container, replace(over(1), closed=True), {BODY: [Outcome(3, None, error)]})
    assert failed.value.details == {"more": 1, "node": "b", "index": 3}


@pytest.mark.parametrize("fan", [None, edges_of(1), edges_of(0, pending=1)])
def test_a_join_each_stays_until_all_is_decided_and_has_ended(fan: Fan | None) -> None:
    assert decided(EACH, fan, {BODY: [good(0, {})]}) == Stay(0)


def test_a_join_each_lists_what_each_node_came_to_where_it_was_reached() -> None:
    outcomes = {BODY: [good(0, {"m": {"output": 1}}), good(4, {"m": {"error": ERROR}})]}
    assert decided(EACH, edges_of(0), outcomes) == Done({"nodes": {"m": {"output": [1, None]}}})
