"""What a condition says about the values it compares with constants: for each of them, which ones are left.

Only a comparison of a written path with a constant is understood, and `not`, `and` and `or` of those. Whatever else a
condition holds leaves every value possible, so what is found impossible here is impossible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from jinja2 import nodes

from celeriac import Json
from engine.expressions.paths import static
from engine.expressions.references import Path

Key = tuple[str, Json]
"""A constant with its type, so that `1`, `true` and `"1"` differ and `1` and `1.0` do not."""

ABSENT: Final[Key] = ("absent", None)
_EMPTY: Final[frozenset[Key]] = frozenset([("list", None), ("object", None)])
"""Stand for the empty list and the empty object, of which nothing else is said."""
_FALSE: Final[frozenset[Key]] = frozenset(
    [("boolean", False), ("null", None), ("number", 0), ("text", ""), *_EMPTY]
)

_MIRRORED: Final = {"lt": "gt", "lteq": "gteq", "gt": "lt", "gteq": "lteq", "eq": "eq", "ne": "ne"}
_NEGATED: Final = {
    "eq": "ne",
    "ne": "eq",
    "lt": "gteq",
    "gteq": "lt",
    "gt": "lteq",
    "lteq": "gt",
    "in": "notin",
    "notin": "in",
}


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of an interval; a `strict` one is outside of it."""

    value: float | str
    strict: bool


@dataclass(frozen=True)
class Domain:
    """Values that are left: one of `allowed`, if there is such a list; none of `excluded`; of the type `kind` and between
    two bounds, where these are known.
    """

    allowed: frozenset[Key] | None = None
    excluded: frozenset[Key] = frozenset()
    kind: str | None = None
    low: Bound | None = None
    high: Bound | None = None

    @cached_property
    def is_empty(self) -> bool:
        """Whether no value is left."""
        if self.allowed is not None:
            return not any(self.holds(each) for each in self.allowed)
        if self.kind == "none":
            return True
        if self.low is None or self.high is None:
            return False
        low, high = self.low, self.high
        if low.value == high.value:
            only = (self.kind or "", low.value)
            return low.strict or high.strict or only in self.excluded
        return low.value > high.value  # type: ignore[operator]  # both are of the same kind

    def holds(self, key: Key) -> bool:
        """Whether a value is left."""
        if (self.allowed is not None and key not in self.allowed) or key in self.excluded:
            return False
        if self.kind is None:
            return True
        return key[0] == self.kind and _above(key, self.low) and _below(key, self.high)

    def __and__(self, other: Domain) -> Domain:
        """Return what is left of both."""
        allowed = self.allowed
        if allowed is None or other.allowed is None:
            allowed = other.allowed if allowed is None else allowed
        else:
            allowed &= other.allowed
        kind = self.kind or other.kind
        if None not in (self.kind, other.kind) and self.kind != other.kind:
            return Domain(kind="none")
        lows = [each for each in (self.low, other.low) if each is not None]
        highs = [each for each in (self.high, other.high) if each is not None]
        return Domain(
            allowed,
            self.excluded | other.excluded,
            kind,
            max(lows, key=lambda each: (each.value, each.strict), default=None),
            min(highs, key=lambda each: (each.value, not each.strict), default=None),
        )

    def __or__(self, other: Domain) -> Domain:
        """Return what is left of one or the other, and maybe more: no gap between two intervals is kept."""
        if self.is_empty or other.is_empty:
            return other if self.is_empty else self
        excluded = frozenset(
            each for each in self.excluded | other.excluded if not self.holds(each) and not other.holds(each)
        )
        if self.allowed is not None and other.allowed is not None:
            return Domain(self.allowed | other.allowed, excluded)
        one, two = self._hull(), other._hull()
        if one.kind is None or one.kind != two.kind:
            return Domain(excluded=excluded)
        low = high = None
        if one.low is not None and two.low is not None:
            low = min(one.low, two.low, key=lambda each: (each.value, each.strict))
        if one.high is not None and two.high is not None:
            high = max(one.high, two.high, key=lambda each: (each.value, not each.strict))
        return Domain(None, excluded, one.kind, low, high)

    def _hull(self) -> Domain:
        """Return the interval around what is allowed, where that is of one type that has an order."""
        if self.allowed is None:
            return self
        left = [each for each in self.allowed if self.holds(each)]
        kinds = {kind for kind, _ in left}
        if len(kinds) != 1 or not kinds <= {"number", "text"}:
            return Domain()
        values: list[float | str] = sorted(value for _, value in left)  # type: ignore[misc]  # of one kind
        return Domain(
            kind=next(iter(kinds)), low=Bound(values[0], strict=False), high=Bound(values[-1], strict=False)
        )


def _above(key: Key, low: Bound | None) -> bool:
    value = key[1]
    return low is None or (value > low.value or (value == low.value and not low.strict))  # type: ignore[operator]


def _below(key: Key, high: Bound | None) -> bool:
    value = key[1]
    return high is None or (value < high.value or (value == high.value and not high.strict))  # type: ignore[operator]


Demands = Mapping[Path, Domain]
"""What is left of the values that a condition compares. The path () stands for the condition itself."""

IMPOSSIBLE: Final = Domain(kind="none")
_PRESENT: Final = Domain(excluded=frozenset([ABSENT]))


def demands(tree: nodes.Node, *, holds: bool) -> dict[Path, Domain]:
    """Return what is left of each value when a condition holds, or does not."""
    match tree:
        case nodes.Not():
            return demands(tree.node, holds=not holds)
        case nodes.And() | nodes.Or():
            one, two = demands(tree.left, holds=holds), demands(tree.right, holds=holds)
            return both(one, two) if isinstance(tree, nodes.And) == holds else _either(one, two)
        case nodes.Compare():
            return _comparison(tree, holds=holds)
        case nodes.Test() if tree.name in ("defined", "undefined"):
            path = static(tree.node)
            there = (tree.name == "defined") == holds
            domain = _PRESENT if there else Domain(frozenset([ABSENT]))
            return {} if path is None else {path: domain}
        case nodes.Const():
            return {} if bool(tree.value) == holds else {(): IMPOSSIBLE}
    path = static(tree)
    if path is None:
        return {}
    return {path: replace(_PRESENT, excluded=_PRESENT.excluded | _FALSE) if holds else Domain(_FALSE)}


def both(one: Demands, two: Demands) -> dict[Path, Domain]:
    """Return what two conditions leave when both hold."""
    found = dict(one)
    for path, domain in two.items():
        found[path] = found[path] & domain if path in found else domain
    return found


def _either(one: Demands, two: Demands) -> dict[Path, Domain]:
    if any(each.is_empty for each in one.values()):
        return dict(two)
    if any(each.is_empty for each in two.values()):
        return dict(one)
    return either([one, two])


def either(several: Iterable[Demands]) -> dict[Path, Domain]:
    """Return what is left when one of several holds, and nobody knows which."""
    first, *others = several
    found = dict(first)
    for other in others:
        found = {path: domain | other[path] for path, domain in found.items() if path in other}
    return found


def _comparison(tree: nodes.Compare, *, holds: bool) -> dict[Path, Domain]:
    if len(tree.ops) > 1 and not holds:
        return {}
    found: dict[Path, Domain] = {}
    left = tree.expr
    for each in tree.ops:
        found = both(found, _compared(left, each.op if holds else _NEGATED[each.op], each.expr))
        left = each.expr
    return found


def _compared(left: nodes.Node, operator: str, right: nodes.Node) -> dict[Path, Domain]:
    path, constant = static(left), right
    if path is None and operator in _MIRRORED:
        path, constant, operator = static(right), left, _MIRRORED[operator]
    if path is None:
        return {}
    if operator in ("in", "notin"):
        keys = (
            [_key(each) for each in constant.items] if isinstance(constant, nodes.List | nodes.Tuple) else []
        )
        known = frozenset(each for each in keys if each is not None)
        if not keys or len(known) != len(set(keys)):
            return {}
        return {path: Domain(known) if operator == "in" else Domain(excluded=known | {ABSENT})}
    key = _key(constant)
    if key is None:
        return {}
    if operator in ("eq", "ne"):
        return {
            path: Domain(frozenset([key])) if operator == "eq" else Domain(excluded=frozenset([key, ABSENT]))
        }
    kind, value = key
    if kind not in ("number", "text"):
        return {}
    bound = Bound(value, strict=operator in ("lt", "gt"))  # type: ignore[arg-type]  # of one of these kinds
    if operator in ("lt", "lteq"):
        return {path: Domain(kind=kind, high=bound)}
    return {path: Domain(kind=kind, low=bound)}


def _key(node: nodes.Node) -> Key | None:
    """Return a constant; None for what is none."""
    if isinstance(node, nodes.Neg) and isinstance(node.node, nodes.Const):
        value = node.node.value
        return ("number", -value) if type(value) in (int, float) else None
    if isinstance(node, nodes.Name) and node.name == "null":
        return "null", None
    if not isinstance(node, nodes.Const):
        return None
    value = node.value
    if isinstance(value, bool):
        return "boolean", value
    if value is None:
        return "null", None
    return ("text", value) if isinstance(value, str) else ("number", value)
