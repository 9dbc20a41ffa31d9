from __future__ import annotations

import re

import pytest

from engine.expressions import Json, compile_expression, compile_template
from tests.expressions import refusal_of, scope, value_of


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("now()", "2023-11-14T22:13:20.123Z"),
        ("range(3)", [0, 1, 2]),
        ("range(1, 3)", [1, 2]),
        ("range(5, 0, -2)", [5, 3, 1]),
        ("range(0, 5, 2)", [0, 2, 4]),
        ("range(0, 4, 2)", [0, 2]),
        ("range(0)", []),
        ("range(3, 1)", []),
        ("range(1, 3, -1)", []),
        ("range(stop=2, start=1)", [1]),
        ("min(3, 1, 2)", 1),
        ("max(3, 1, 2)", 3),
        ("max([3, 1])", 3),
        ("max('a', 'b')", "b"),
    ],
)
def test_functions_return_json(expression: str, expected: Json) -> None:
    assert compile_expression(expression).evaluate(scope()) == expected


def test_a_uuid_has_the_shape_of_version_four() -> None:
    shape = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

    assert shape.fullmatch(str(value_of("{{ uuid() }}")))


def test_a_random_number_is_at_least_zero_and_less_than_one() -> None:
    drawn = compile_expression("random()")
    one_scope = scope()
    numbers = [drawn.evaluate(one_scope) for _ in range(200)]

    assert all(isinstance(number, float) and 0 <= number < 1 for number in numbers)
    assert len(set(map(str, numbers))) == 200


def test_draws_are_numbered_through_all_templates_of_a_scope() -> None:
    both = compile_template("{{ uuid() }} {{ uuid() }}")
    single = compile_template("{{ uuid() }}")
    one_scope = scope()
    one_by_one = f"{single.evaluate(one_scope)} {single.evaluate(one_scope)}"

    assert both.evaluate(scope()) == one_by_one
    assert one_by_one.split(maxsplit=1)[0] != one_by_one.split()[1]


def test_a_name_like_a_function_is_an_ordinary_name() -> None:
    assert value_of("{{ now }} {{ max }} {{ range(1) }}", now=1, max=2) == "1 2 [0]"


@pytest.mark.parametrize(
    ("source", "code", "message", "hint"),
    [
        ("{{ range(x) }}", "type", "`range` needs an integer for `stop`, not text.", None),
        ("{{ range(1, 2, 0) }}", "value", "`range` cannot have a step of zero.", None),
        ("{{ range() }}", "arguments", "`range` takes (start, stop?, step?).", None),
        ("{{ min() }}", "arguments", "`min` needs at least one value.", None),
        ("{{ max([]) }}", "arguments", "`max` needs at least one value.", None),
        ("{{ min(5) }}", "type", "`min` needs a list, not a number.", None),
        ("{{ max(1, 'a') }}", "type", "`max` can order numbers or texts, not a mixture of a number and text.",
         "Select one kind first, or convert with `string` or `float`."),
        ("{{ now(1) }}", "arguments", "`now` takes no arguments.", None),
        ("{{ nov() }}", "unknown_function", "There is no function `nov`.", "Did you mean `now`?"),
        ("{{ len(x) }}", "unknown_function", "There is no function `len`.", "Write `x | length`."),
        ("{{ upper(x) }}", "unknown_function", "There is no function `upper`.", "Write `x | upper`."),
        ("{{ zyx(x) }}", "unknown_function", "There is no function `zyx`.", None),
        ("{{ x.strip() }}", "not_allowed", "Values have no methods, so no `strip()`.", "Write `x | trim`."),
        ("{{ x.append(1) }}", "not_allowed", "Values have no methods, so no `append()`.", "Write `x + y`."),
        ("{{ x.qqqq() }}", "not_allowed", "Values have no methods, so no `qqqq()`.", None),
        ("{{ x['upper']() }}", "not_allowed", "Only functions can be called.",
         "The functions are now, uuid, random, range, min, max, callback_url."),
        ("{{ (x | upper)() }}", "not_allowed", "Only functions can be called.",
         "The functions are now, uuid, random, range, min, max, callback_url."),
        ("{{ now()() }}", "not_allowed", "Only functions can be called.",
         "The functions are now, uuid, random, range, min, max, callback_url."),
    ],
)  # fmt: skip
def test_only_functions_are_called(source: str, code: str, message: str, hint: str | None) -> None:
    error = refusal_of(source, x="a")

    assert (error.code, error.message, error.hint) == (f"expression.{code}", message, hint)
