from __future__ import annotations

import pytest

from engine.expressions import ExpressionError, Json, compile_expression
from tests.expressions import refusal_of, scope, value_of

ABSENT = "Write `| default(...)` behind it if it may be absent."
DATA: dict[str, Json] = {
    "nodes": {"a": {"output": {"x": 5, "list": [3, 1, 2], "none": None, "a key": 1, "0": "zero"}}},
    "name": "Ann",
    "key": "x",
    "number": 1,
    "flag": True,
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("name", "Ann"),
        ("nodes.a.output.x", 5),
        ("nodes['a'].output['x']", 5),
        ("nodes.a.output['a key']", 1),
        ("nodes.a.output['0']", "zero"),
        ("nodes.a.output.list", [3, 1, 2]),
        ("nodes.a.output.list[0]", 3),
        ("nodes.a.output.list.0", 3),
        ("nodes.a.output.list[-1]", 2),
        ("nodes.a.output.list[number]", 1),
        ("nodes.a.output[key]", 5),
        ("nodes.a.output[key ~ '']", 5),
        ("nodes['a']['output'][key]", 5),
        ("[nodes][0].a.output.x", 5),
        ("{'a': 1}.a", 1),
        ("(name if flag else key)[0]", "A"),
        ("name[0]", "A"),
        ("name[-1]", "n"),
        ("nodes.a.output.none", None),
        ("nodes.a.output.list[1:]", [1, 2]),
        ("nodes.a.output.list[:-1]", [3, 1]),
        ("nodes.a.output.list[::2]", [3, 2]),
        ("nodes.a.output.list[::-1]", [2, 1, 3]),
        ("nodes.a.output.list[number:10000000000000000000000]", [1, 2]),
        ("name[1:]", "nn"),
        ("'äöü'[1:]", "öü"),
        ("null", None),
        ("none", None),
        ("None", None),
        ("true", True),
        ("True", True),
        ("false", False),
    ],
)
def test_a_path_is_a_lookup_in_json(expression: str, expected: Json) -> None:
    assert compile_expression(expression).evaluate(scope(**DATA)) == expected


@pytest.mark.parametrize(
    ("expression", "code", "message", "hint"),
    [
        ("nam", "unknown_name", "There is no `nam` here.", "Did you mean `name`?"),
        ("zzz", "unknown_name", "There is no `zzz` here.", ABSENT),
        ("nodes.a.outptu.x", "unknown_key", "`nodes.a` has no key `outptu`.", "Did you mean `output`?"),
        ("nodes.zz.q", "unknown_key", "`nodes` has no key `zz`.", ABSENT),
        ("nodes.a.output['a kez']", "unknown_key", "`nodes.a.output` has no key `a kez`.", "Did you mean `a key`?"),
        (
            "nodes.a.output.list[3]",
            "unknown_key",
            "`nodes.a.output.list` has no item 3.",
            ABSENT,
        ),
        (
            "nodes.a.output.list.length",
            "type",
            "`nodes.a.output.list` is a list and has no key `length`.",
            "`length` is a filter: write `nodes.a.output.list | length`.",
        ),
        (
            "nodes.a.output.list.x",
            "type",
            "`nodes.a.output.list` is a list and has no key `x`.",
            "Take one item with `[0]`, or a field of all with `map(attribute=...)`.",
        ),
        ("nodes.a.output[0]", "type", "`nodes.a.output` is an object and has no item 0.", None),
        ("nodes.a.output.none.x", "type", "`nodes.a.output.none` is null and has no key `x`.", None),
        ("name.x", "type", "`name` is text and has no key `x`.", None),
        ("name[3]", "type", "`name` is text and has no item 3.", None),
        ("flag.x", "type", "`flag` is a boolean and has no key `x`.", None),
        ("number.x", "type", "`number` is a number and has no key `x`.", None),
        ("null.x", "type", "`null` is null and has no key `x`.", None),
        ("nodes['zz' ~ '']", "unknown_key", "A lookup finds no such key, at `nodes`.", ABSENT),
        ("nodes.a.output.list[number + 5]", "unknown_key", "A lookup finds no such item, at `nodes.a.output.list`.", ABSENT),
        ("nodes[flag]", "type", "A lookup needs text or an integer for its key, not a boolean, at `nodes`.", None),
        ("nodes[number]", "type", "A lookup cannot look into an object with a number, at `nodes`.", None),
        ("nodes[key].y", "unknown_key", "A lookup finds no such key, at `nodes`.", ABSENT),
        ("nodes['a'][name ~ ''].y", "unknown_key", "A lookup finds no such key, at `nodes.a`.", ABSENT),
        ("[nodes][0].zz", "unknown_key", "`…[0]` has no key `zz`.", ABSENT),
        ("name['a':]", "type", "A slice needs integers, not text, at `name`.", None),
        ("name[::0]", "value", "A slice cannot have a step of zero, at `name`.", None),
        ("number[1:]", "type", "A slice needs a list or text, not a number, at `number`.", None),
        ("nodes.items()", "not_allowed", "Values have no methods, so no `items()`.", "Write `x | items`."),
    ],
)  # fmt: skip
def test_a_path_that_leads_nowhere_says_where_it_ends(
    expression: str, code: str, message: str, hint: str | None
) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(expression).evaluate(scope(**DATA))

    error = caught.value
    assert (error.code, error.message, error.hint) == (f"expression.{code}", message, hint)


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("{{ nope }}", 4),
        ("{{ nodes.a.zzz }}", 4),
        ("{{ 1 + nope.x }}", 8),
        ("{{ name | upper ~ nodes[key] }}", 24),
    ],
)
def test_the_place_of_an_error_is_where_the_path_begins(source: str, column: int) -> None:
    error = refusal_of(source, **DATA)

    assert (error.line, error.column) == (1, column)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("zzz | default(1)", 1),
        ("zzz.a.b['c'][0] | default(1)", 1),
        ("nodes.zz.output | default(1)", 1),
        ("nodes.a.output.list[9] | default(1)", 1),
        ("nodes.a.output.none.x | default(1)", 1),
        ("name.x | default(1)", 1),
        ("nodes[key].y | default(1)", 1),
        ("nodes[zzz | default('a')].output.x", 5),
        ("zzz[key] | default(1)", 1),
        ("zzz[1:] | default(1)", 1),
        ("nodes.a.output.x | default(1)", 5),
        ("nodes.a.output.none | default(1)", None),
        ("nodes.a.output.none | default(1, true)", 1),
        ("nodes.a.output.none | default(1, boolean=true)", 1),
        ("'' | default(1, true)", 1),
        ("zzz | default", ""),
        ("zzz | d(2)", 2),
        ("name | default(zzz)", "Ann"),
        ("zzz | default(yyy | default(3))", 3),
        ("[] | first | default(4)", 4),
        ("[] | last | default(4)", 4),
        ("[] | min | default(4)", 4),
        ("[] | max | default(4)", 4),
        ("(1 + 1) | default(5)", 2),
        ("zzz is defined", False),
        ("zzz is not defined", True),
        ("zzz is undefined", True),
        ("nodes.a.output is defined", True),
        ("nodes.a.output.none is defined", True),
        ("nodes.zz.output is defined", False),
        ("nodes[key] is defined", False),
        ("[] | first is defined", False),
        ("'a' is defined", True),
    ],
)
def test_default_and_is_defined_cope_with_absence(expression: str, expected: Json) -> None:
    assert compile_expression(expression).evaluate(scope(**DATA)) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "zzz | upper | default('x')",
        "(zzz + 1) | default(2)",
        "zzz | first | default(1)",
        "[zzz] | default(1)",
    ],
)
def test_default_copes_with_the_path_in_front_of_it_and_no_other(expression: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(expression).evaluate(scope())

    assert caught.value.code == "expression.unknown_name"


def test_a_key_named_like_a_python_attribute_is_just_a_key() -> None:
    assert (
        value_of(
            "{{ x.__class__ }} {{ x.items }} {{ x.keys[0] }}", x={"__class__": 1, "items": 2, "keys": [3]}
        )
        == "1 2 3"
    )


def test_any_mapping_may_hold_the_names() -> None:
    from collections import ChainMap

    from engine.expressions import Scope, derived_entropy

    names: ChainMap[str, Json] = ChainMap({"a": 1}, {"b": {"c": 2}})

    assert compile_expression("a + b.c").evaluate(Scope(names, derived_entropy(b"", 0))) == 3
