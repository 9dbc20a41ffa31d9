from __future__ import annotations

import pytest

from engine.expressions import ExpressionError, Json, compile_expression
from tests.expressions import refusal_of, scope


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2", 3),
        ("1 + 2.5", 3.5),
        ("'a' + 'b'", "ab"),
        ("[1] + [2]", [1, 2]),
        ("5 - 7", -2),
        ("3 * 4", 12),
        ("0 * 4", 0),
        ("'ab' * 2", "abab"),
        ("2 * 'ab'", "abab"),
        ("'ab' * -1", ""),
        ("[1, 2] * 2", [1, 2, 1, 2]),
        ("2 * [0]", [0, 0]),
        ("4 / 2", 2.0),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("7.5 // 2", 3.0),
        ("7 % 3", 1),
        ("-7 % 3", 2),
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("(1 + 2) * 3", 9),
        ("-x", -5),
        ("+x", 5),
        ("- -x", 5),
        ("1 ~ 'a' ~ true ~ null ~ 1.50 ~ [1, 'b'] ~ {'k': null}", '1atruenull1.5[1,"b"]{"k":null}'),
        ("1, 2", [1, 2]),
        ("(1,)", [1]),
        ("[1, (2, 3), []]", [1, [2, 3], []]),
        ("{'a': 1, 'b' ~ 1: [2]}", {"a": 1, "b1": [2]}),
        ("{}", {}),
        ("1 if x > 3 else 2", 1),
        ("1 if x > 9 else 2 if x > 4 else 3", 2),
        ("x > 3 and x < 9", True),
        ("x and 'yes'", "yes"),
        ("'' and zzz", ""),
        ("0 or 'no'", "no"),
        ("x or zzz", 5),
        ("not x", False),
        ("not []", True),
        ("not {} and not '' and not 0 and not 0.0 and not null and not false", True),
    ],
)
def test_operators_compute(expression: str, expected: Json) -> None:
    result = compile_expression(expression).evaluate(scope(x=5))

    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 == 1.0", True),
        ("true == 1", False),
        ("false == 0", False),
        ("false == ''", False),
        ("null == 0", False),
        ("null == null", True),
        ("null == false", False),
        ("'1' == 1", False),
        ("'a' == 'a'", True),
        ("'a' == 'b'", False),
        ("'a' == 'ab'", False),
        ("[1, [true]] == [1.0, [true]]", True),
        ("[1] == [true]", False),
        ("[1] == [1, 2]", False),
        ("[1] == '1'", False),
        ("{'a': [1], 'b': 2} == {'b': 2, 'a': [1]}", True),
        ("{'a': 1} == {'a': 2}", False),
        ("{'a': 1} == {'b': 1}", False),
        ("{'a': 1} == {'a': 1, 'b': 1}", False),
        ("[{'a': 1}] == [[1]]", False),
        ("1 != 2", True),
        ("1 != 1.0", False),
        ("1 < 2", True),
        ("2 <= 2.0", True),
        ("'a' < 'b'", True),
        ("'a' >= 'b'", False),
        ("'B' < 'a'", True),
        ("1 < 2 < 3", True),
        ("1 < 2 > 3", False),
        ("3 < 2 < zzz", False),
        ("1 == 1.0 != true", True),
        ("2 in [1, 2]", True),
        ("true in [1, 2]", False),
        ("[1] in [[1]]", True),
        ("3 not in [1, 2]", True),
        ("'el' in 'hello'", True),
        ("'' in ''", True),
        ("'a' in {'a': 1}", True),
        ("1 in {'1': 1}", False),
        ("'a' not in {'a': 1}", False),
    ],
)
def test_comparisons_follow_the_types_of_json(expression: str, expected: bool) -> None:
    assert compile_expression(expression).evaluate(scope()) is expected


@pytest.mark.parametrize(
    ("expression", "code", "message"),
    [
        ("1 + 'a'", "type", "`+` needs two numbers, two texts or two lists, not a number and text."),
        ("x + null", "type", "`+` needs two numbers, two texts or two lists, not a number and null, at `x`."),
        ("true + 1", "type", "`+` needs two numbers, two texts or two lists, not a boolean and a number."),
        ("{} + {}", "type", "`+` needs two numbers, two texts or two lists, not an object and an object."),
        ("'a' - 'b'", "type", "`-` needs two numbers, not text and text."),
        ("true * 2", "type", "`*` needs two numbers, not a boolean and a number."),
        ("'a' * 'b'", "type", "`*` needs two numbers, not text and text."),
        ("'a' * 1.0", "type", "`*` needs two numbers, not text and a number."),
        ("'%s' % 'a'", "type", "`%` needs two numbers, not text and text."),
        ("'%09999999d' % 1", "type", "`%` needs two numbers, not text and a number."),
        ("[] / 2", "type", "`/` needs two numbers, not a list and a number."),
        ("-'a'", "type", "A sign needs a number, not text."),
        ("+true", "type", "A sign needs a number, not a boolean."),
        ("1 / 0", "number", "`/` divides by zero."),
        ("1 // 0", "number", "`//` divides by zero."),
        ("1 % 0.0", "number", "`%` divides by zero."),
        ("1e308 * 10", "number", "`*` comes to a number that JSON cannot hold."),
        ("1e308 + 1e308", "number", "`+` comes to a number that JSON cannot hold."),
        ("big + 0.5", "number", "`+` comes to a number that JSON cannot hold, at `big`."),
        ("big / 3", "number", "`/` comes to a number that JSON cannot hold, at `big`."),
        ("1e999", "number", "The number is too large for JSON."),
        ("{1: 2}", "type", "An object needs text for its keys, not a number."),
        ("1 < 'a'", "type", "`<` needs two numbers or two texts, not a number and text."),
        ("x > null", "type", "`>` needs two numbers or two texts, not a number and null, at `x`."),
        ("true < false", "type", "`<` needs two numbers or two texts, not a boolean and a boolean."),
        ("[1] >= [0]", "type", "`>=` needs two numbers or two texts, not a list and a list."),
        ("1 < 2 < 'a'", "type", "`<` needs two numbers or two texts, not a number and text."),
        ("1 in 5", "type", "`in` needs a list, an object or text to look in, not a number."),
        ("1 in 'abc'", "type", "`in` can look for text in a text, not for a number."),
        ("'a' in null", "type", "`in` needs a list, an object or text to look in, not null."),
        ("1 if x", "not_allowed", "An `if` inside an expression needs an `else`."),
        ("2 ** 8", "not_allowed", "`**` is not part of the language."),
    ],
)
def test_operators_refuse_what_they_do_not_mean(expression: str, code: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(expression).evaluate(scope(x=5, big=1 << 4_000))

    assert (caught.value.code, caught.value.message) == (f"expression.{code}", message)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (1, "1"),
        (1.0, "1.0"),
        (1e22, "1e+22"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        ([], "[]"),
        ([1, "ä", None, True, {"a": [1.5]}], '[1,"ä",null,true,{"a":[1.5]}]'),
        ({"a": 1, "b": {}}, '{"a":1,"b":{}}'),
    ],
)
def test_values_in_text_are_written_as_json_except_text_itself(value: Json, expected: str) -> None:
    from tests.expressions import value_of

    assert value_of("<{{ x }}>", x=value) == f"<{expected}>"
    assert value_of("{{ x ~ '' }}", x=value) == expected
    assert value_of("{{ x | string }}", x=value) == expected
    assert value_of("{{ [x] | join }}", x=value) == expected


def test_a_message_never_shows_a_value() -> None:
    secret = "correct-horse-battery"
    sources = [
        "{{ x + 1 }}", "{{ x.a }}", "{{ x | int }}", "{{ y[x] }}", "{{ [x, 1] | sort }}", "{{ x | fromjson }}",
        "{{ x | date }}", "{{ x | b64decode }}", "{{ 1 < x }}", "{{ y | map(attribute=x) }}", "{{ x() }}",
        "{% for a in x %}{% endfor %}", "{{ 1 | round(method=x) }}", "{{ now() | date_format('%Q' ~ x) }}",
        "{{ now() | date_format(timezone=x) }}", "{{ y | selectattr(x) }}", "{{ x is divisibleby 3 }}", "{{ -x }}",
    ]  # fmt: skip
    for source in sources:
        error = refusal_of(source, x=secret, y=[{"b": secret}])
        assert secret not in f"{error.message} {error.hint} {error.to_json()}", source
