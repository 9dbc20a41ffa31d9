from __future__ import annotations

import pytest

from engine.expressions import Json, compile_expression
from engine.expressions.predicates import PREDICATES
from tests.expressions import refusal_of, scope, value_of

CASES: dict[str, tuple[list[str], list[str]]] = {
    "defined": (["x", "null"], ["zzz", "x.y"]),
    "undefined": (["zzz", "x.y"], ["x", "null"]),
    "none": (["null"], ["false", "0", "''"]),
    "null": (["none"], ["false", "0", "''"]),
    "true": (["true"], ["1", "'true'", "false"]),
    "false": (["false"], ["0", "null", "true"]),
    "boolean": (["true", "false"], ["1", "null"]),
    "number": (["1", "1.5"], ["true", "'1'"]),
    "integer": (["1"], ["1.0", "true"]),
    "float": (["1.0"], ["1", "true"]),
    "string": (["''"], ["1", "null"]),
    "list": (["[]", "(1,)"], ["'a'", "{}"]),
    "object": (["{}"], ["[]", "'a'"]),
    "mapping": (["{}"], ["[]"]),
    "empty": (["null", "''", "[]", "{}"], ["0", "false", "' '", "[0]", "{'a': 1}", "0.0"]),
    "even": (["2", "0", "-2"], ["1"]),
    "odd": (["1", "-1"], ["2"]),
    "divisibleby(3)": (["9", "0"], ["10"]),
    "divisibleby 3": (["9"], ["10"]),
    "eq(1)": (["1", "1.0"], ["true", "'1'"]),
    "equalto('a')": (["'a'"], ["'b'"]),
    "ne(1)": (["2", "true"], ["1.0"]),
    "lt(3)": (["2"], ["3", "4"]),
    "lessthan(3)": (["2"], ["3"]),
    "le(3)": (["2", "3"], ["4"]),
    "gt(3)": (["4"], ["3", "2"]),
    "greaterthan(3)": (["4"], ["3"]),
    "ge(3)": (["4", "3"], ["2"]),
    "in([1, 'a'])": (["1", "'a'"], ["true", "'b'"]),
    "in 'abc'": (["'b'"], ["'d'"]),
    "contains('a')": (["['a']", "'cab'", "{'a': 1}"], ["[]", "'b'"]),
    "startswith('a')": (["'ab'"], ["'ba'"]),
    "endswith('a')": (["'ba'"], ["'ab'"]),
    "lower": (["'ab'"], ["'Ab'", "''"]),
    "upper": (["'AB'"], ["'Ab'", "''"]),
}


@pytest.mark.parametrize("test", CASES)
def test_a_value_is_or_is_not(test: str) -> None:
    holds, fails = CASES[test]
    for expression in holds:
        assert compile_expression(f"({expression}) is {test}").evaluate(scope(x=1)) is True, expression
        assert compile_expression(f"({expression}) is not {test}").evaluate(scope(x=1)) is False, expression
    for expression in fails:
        assert compile_expression(f"({expression}) is {test}").evaluate(scope(x=1)) is False, expression


def test_every_test_is_tried_above() -> None:
    assert {name.split("(")[0].split(" ")[0] for name in CASES} == set(PREDICATES)


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("{{ 1.5 is even }}", "type", "`is even` needs an integer, not a number."),
        ("{{ true is odd }}", "type", "`is odd` needs an integer, not a boolean."),
        ("{{ 1 is divisibleby 0 }}", "number", "`is divisibleby` divides by zero."),
        ("{{ x is lower }}", "type", "`is lower` needs text, not a number, at `x`."),
        ("{{ 1 is lt 'a' }}", "type", "`is lt` needs two numbers or two texts, not a number and text."),
        ("{{ 1 is nul }}", "unknown_test", "There is no test `nul`."),
        ("{{ 1 is callable }}", "unknown_test", "There is no test `callable`."),
        ("{{ 1 is sameas 1 }}", "unknown_test", "There is no test `sameas`."),
        ("{{ 1 is gt }}", "arguments", "`gt` takes (other)."),
        ("{{ zzz is none }}", "unknown_name", "There is no `zzz` here."),
    ],
)
def test_tests_refuse_what_they_cannot_tell(source: str, code: str, message: str) -> None:
    error = refusal_of(source, x=1)

    assert (error.code, error.message) == (f"expression.{code}", message)


def test_a_misspelt_test_gets_a_hint() -> None:
    assert refusal_of("{{ 1 is nul }}").hint == "Did you mean `null`?"


def test_a_list_inside_a_list_can_be_tested() -> None:
    values: list[Json] = [[], [1]]

    assert value_of("{{ x | reject('empty') }}", x=values) == [[1]]
