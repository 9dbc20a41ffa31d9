"""Maps and loops: what is performed inside of them, and what they come to. Scopes are beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.chaos.reference.expressions import Failure, Telling, evaluate, one_of, render
from tests.chaos.reference.graphs import Node, Outcome, repeated
from tests.chaos.reference.instances import UNFINISHED, Leave, Run, instance, scope_of
from tests.chaos.reference.parts import perform_part
from tests.chaos.reference.record import Ended
from tests.chaos.reference.scopes import perform_scope


def contain(run: Run, node: Node, since: int, found: Ended | None) -> Any:
    """Perform a container. Raises `Failure`, or `Leave` for what ends with it."""
    if "part" in node:
        return perform_part(run, node, since, found)
    if "for_each" in node:
        return _map(run, node, since, found)
    if "loop" in node:
        return _loop(run, node, since)
    return perform_scope(run, node, since, found)


def _map(run: Run, node: Node, since: int, found: Ended | None) -> Any:
    """Perform a body for each of some items, and collect what they come to, in their order."""
    rule = node["for_each"]
    items = evaluate(rule["items"], scope_of(run))
    size = rule.get("batch", 1)
    if size > 1:
        items = [items[index : index + size] for index in range(0, len(items), size)]
    run.given.cut = run.given.cut or "until" in rule
    results: list[Outcome | None] = []
    away: list[Leave] = []
    for index, item in enumerate(items):
        names = {"item": item, "index": index} | ({rule["as"]: item} if "as" in rule else {})
        try:
            results.append(instance(run, node, node["id"], repeated(node), index, since, names)[1])
        except Leave as leave:
            away.append(leave)
            results.append(None)
    if away:
        raise min(away, key=lambda each: each.seq)
    return _choose(found, list(_ends_of_map(run, rule, results, found)))


def _ends_of_map(
    run: Run, rule: Mapping[str, Any], results: Sequence[Outcome | None], found: Ended | None
) -> Iterator[Any]:
    """Yield what a map can come to: somebody has left it, too many items failed, its `until` was true, or all is done."""
    yield from (each.output for each in results if each is not None and each.state == "left")
    ended = [(index, each) for index, each in enumerate(results) if each is not None]
    failed = [str(each.code) for _, each in ended if each.state == "failed"]
    too_many = len(failed) > _tolerated(rule, len(results))
    if too_many:
        yield Failure(one_of(frozenset(failed)))
    if "until" in rule and found is not None and found.state == "succeeded":
        part = _part(ended, found.output)
        if part is not None and _is_over(run, rule, part, len(results)):
            yield found.output
    if len(ended) == len(results) and not too_many:
        yield _collected(rule, ended, whole=True)


def _part(ended: Sequence[tuple[int, Outcome]], output: Any) -> list[tuple[int, Outcome]] | None:
    """Return those items that a result is made of: all that failed may be among them."""
    values = output.get("succeeded") if isinstance(output, Mapping) else output
    if not isinstance(values, list):
        return None
    part: list[tuple[int, Outcome]] = []
    left = list(values)
    for index, each in ended:
        if each.state == "failed":
            part.append((index, each))
        elif left and each.output == left[0]:
            part.append((index, each))
            left.pop(0)
    return None if left else part


def _is_over(run: Run, rule: Mapping[str, Any], part: Sequence[tuple[int, Outcome]], count: int) -> bool:
    results = [each.output for _, each in part if each.state == "succeeded"]
    most = len(part) - len(results)
    names = {"results": results, "done": len(results), "count": count}
    return any(
        evaluate(rule["until"], {**scope_of(run), **names, "failed": failed}) for failed in range(most + 1)
    )


def _tolerated(rule: Mapping[str, Any], count: int) -> int:
    """How many items may fail."""
    tolerate = rule.get("tolerate", {})
    if "percent" in tolerate:
        return int(count * tolerate["percent"] / 100)
    return int(tolerate.get("count", 0 if rule.get("on_item_error", "fail") == "fail" else count))


def _collected(rule: Mapping[str, Any], ended: Sequence[tuple[int, Outcome]], *, whole: bool) -> Any:
    values = [each.output for _, each in ended if each.state == "succeeded"]
    match rule.get("on_item_error", "fail"):
        case "drop":
            return values
        case "partition":
            failed = [
                {"index": index, "error": Telling(each.code)}
                for index, each in ended
                if each.state == "failed"
            ]
            return {"succeeded": values, "failed": failed}
    return [each.output for _, each in ended] if whole else values


def _loop(run: Run, node: Node, since: int) -> Any:
    """Perform a body one time after the other, with what it came to the last time."""
    rule = node["loop"]
    item = render(rule.get("initial"), scope_of(run), "")
    collected: list[Any] = []
    index = 0
    while True:
        scope = {**scope_of(run), "item": item, "index": index}
        if ("while" in rule and not evaluate(rule["while"], scope)) or (
            "until" in rule and index and evaluate(rule["until"], scope)
        ):
            return collected if rule.get("collect") else item
        if index >= rule.get("max_iterations", 1000):
            raise Failure("loop.too_many_iterations")
        names = {"item": item, "index": index}
        _, outcome = instance(run, node, node["id"], repeated(node), index, since, names)
        if outcome is None:
            return UNFINISHED
        if outcome.state == "failed":
            raise Failure(outcome.code)
        item, index, since = outcome.output, index + 1, outcome.seq
        if outcome.state == "left":
            return item
        collected.append(item)


def _choose(found: Ended | None, possible: Sequence[Any]) -> Any:
    """Return what was recorded, if it is possible; else the first that is."""
    if not possible:
        return UNFINISHED
    fits: Callable[[Any], bool] = lambda each: (  # noqa: E731
        (found is not None and found.state != "succeeded" and each.code == found.code)
        if isinstance(each, Failure)
        else (found is not None and found.state == "succeeded" and bool(each == found.output))
    )
    chosen = next((each for each in possible if fits(each)), possible[0])
    if isinstance(chosen, Failure):
        raise chosen
    return chosen
