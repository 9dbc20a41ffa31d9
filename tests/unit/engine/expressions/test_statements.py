from __future__ import annotations

import pytest

from engine.expressions import Json
from tests.expressions import code_of, refusal_of, value_of

DATA: dict[str, Json] = {
    "items": [{"n": 1, "name": "a"}, {"n": 2, "name": "b"}, {"n": 3, "name": "c"}],
    "object": {"k": 1, "l": 2},
    "yes": True,
    "no": False,
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% if yes %}a{% endif %}", "a"),
        ("{% if no %}a{% endif %}", ""),
        ("{% if no %}a{% else %}b{% endif %}", "b"),
        ("{% if no %}a{% elif yes %}b{% else %}c{% endif %}", "b"),
        ("{% if no %}a{% elif no %}b{% elif 0 %}x{% else %}c{% endif %}", "c"),
        ("{% if yes %}{% if no %}a{% else %}b{% endif %}{% endif %}", "b"),
        ("{% if zzz is defined %}{{ zzz }}{% endif %}", ""),
        ("{% for i in items %}{{ i.name }},{% endfor %}", "a,b,c,"),
        ("{% for i in [] %}a{% else %}none{% endfor %}", "none"),
        ("{% for i in items if i.n > 5 %}a{% else %}none{% endfor %}", "none"),
        ("{% for i in items if i.n != 2 %}{{ loop.index }}{{ i.name }}{% endfor %}", "1a2c"),
        ("{% for i in items %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}", "032 121 210 "),
        ("{% for i in items %}{{ loop.first }}{{ loop.last }} {% endfor %}", "truefalse falsefalse falsetrue "),
        ("{% for i in items %}{{ loop.length }}{% endfor %}", "333"),
        ("{% for i in items %}{% for j in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}", "121 122 123 "),
        ("{% for i in [1, 2] %}{% for j in [1, 2, 3] if j > loop.index %}{{ j }}{% endfor %} {% endfor %}", "23 3 "),
        ("{% for i in items %}{% if loop.last %}{{ i.name }}{% endif %}{% endfor %}", "c"),
        ("{% for k in object %}{{ k }}{% endfor %}", "kl"),
        ("{% for k, v in object | items %}{{ k }}={{ v }};{% endfor %}", "k=1;l=2;"),
        ("{% for a, b in [[1, 2], [3, 4]] %}{{ a + b }} {% endfor %}", "3 7 "),
        ("{% for i in 1, 2 %}{{ i }}{% endfor %}", "12"),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", "012"),
        ("{% for i in null | default([], true) %}{{ i }}{% endfor %}", ""),
        ("{% for i in [1, 2] %}{{ i }}{% endfor %}{{ i | default('gone') }}", "12gone"),
        ("{% set x = 1 %}{{ x }}", "1"),
        ("{% set x = 1 %}{% set x = x + 1 %}{{ x }}", "2"),
        ("{% set a, b = [1, 2] %}{{ a }}{{ b }}", "12"),
        ("{% set a = 1, 2 %}{{ a }}", "[1,2]"),
        ("{% set yes = 5 %}{{ yes }}", "5"),
        ("{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}", "2"),
        ("{% set x = 1 %}{% if no %}{% set x = 2 %}{% endif %}{{ x }}", "1"),
        ("{% if yes %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", "1"),
        ("{% if no %}{% set x = 1 %}{% elif no %}{% set x = 2 %}{% else %}{% set x = 3 %}{% endif %}{{ x }}", "3"),
        ("{% if no %}{% set yes = 1 %}{% endif %}{{ yes }}", "true"),
        ("{% if no %}{% set x = 1 %}{% endif %}{{ x | default('unset') }}", "unset"),
        ("{% set x = 0 %}{% for i in [1, 2] %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "01020"),
        ("{% for i in [1, 2] %}{% if i == 1 %}{% set y = i %}{% endif %}{{ y | default('-') }}{% endfor %}", "1-"),
        ("{% for i in [1, 2] %}{% set s = i * 2 %}{% for j in [1, 2] %}{{ s + j }} {% endfor %}{% endfor %}", "3 4 5 6 "),
        ("{% set x = 1 %}{% for i in [1] %}{% if no %}{% set x = 2 %}{% endif %}{{ x }}{% endfor %}", "1"),
        ("{% for i in [] %}{% else %}{% set x = 3 %}{{ x }}{% endfor %}{{ x | default('?') }}", "33"),
        ("{% for i in [1] %}{% else %}{% set x = 3 %}{% endfor %}{{ x | default('?') }}", "?"),
        ("{% for x in [1] %}{% set x = 5 %}{{ x }}{% endfor %}", "5"),
    ],
)  # fmt: skip
def test_statements_write_text(source: str, expected: str) -> None:
    assert value_of(source, **DATA) == expected


def test_the_sequence_of_a_loop_is_evaluated_before_its_variable_exists() -> None:
    assert value_of("{% for items in items %}{{ items.n }}{% endfor %}", **DATA) == "123"


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("{% for i in 5 %}{% endfor %}", "type", "`for` needs a list or an object, not a number."),
        ("{% for i in 'abc' %}{% endfor %}", "type", "`for` needs a list or an object, not text."),
        ("{% for i in x %}{% endfor %}", "type", "`for` needs a list or an object, not null, at `x`."),
        ("{% for a, b in [1] %}{% endfor %}", "type", "`for` needs a list for 2 names, not a number."),
        ("{% for a, b in [[1]] %}{% endfor %}", "value", "`for` needs a list of 2 items for as many names."),
        ("{% set a, b = [1] %}", "value", "`set` needs a list of 2 items for as many names."),
        ("{% set a, (b, c) = [1] %}", "not_allowed", "Names separated by commas cannot be nested."),
        ("{% set a.b = 1 %}", "not_allowed", "Only names can be set, not keys of an object."),
        ("{% set loop = 1 %}", "not_allowed", "`loop` cannot be set."),
        ("{% for null in [1] %}{% endfor %}", "not_allowed", "`null` cannot be set."),
        ("{% for i in [1] recursive %}{% endfor %}", "not_allowed", "A recursive loop is not part of the language."),
        ("{% for i in [1] %}{{ loop.indx }}{% endfor %}", "not_allowed", "There is no `loop.indx`."),
        ("{% for i in [1] %}{{ loop }}{% endfor %}", "not_allowed", "There is no `loop`."),
        ("{% for i in [1] %}{{ loop.cycle('a') }}{% endfor %}", "not_allowed", "Values have no methods, so no `cycle()`."),
        ("{% for i in [1] %}{{ loop(i) }}{% endfor %}", "unknown_function", "There is no function `loop`."),
        ("{{ loop.index }}", "unknown_name", "There is no `loop` here."),
        ("{% set x %}text{% endset %}", "not_allowed", "A `set` that spans text is not part of the language."),
        ("{% if x %}{% set y = 1 %}{% endif %}{{ y }}", "unknown_name", "There is no `y` here."),
        ("{% for i in [1] %}{% set y = 1 %}{% endfor %}{{ y }}", "unknown_name", "There is no `y` here."),
    ],
)  # fmt: skip
def test_statements_refuse_what_they_do_not_mean(source: str, code: str, message: str) -> None:
    error = refusal_of(source, x=None)

    assert (error.code, error.message) == (f"expression.{code}", message)


def test_null_in_a_loop_gets_the_remedy() -> None:
    expected = "Write `| default([], true)` behind it if it may be null."

    assert refusal_of("{% for i in x %}{% endfor %}", x=None).hint == expected


def test_an_error_inside_a_loop_is_reported_where_it_is() -> None:
    error = refusal_of("{% for i in items %}\n  {{ i.nme }}{% endfor %}", **DATA)

    assert (error.line, error.column, error.message, error.hint) == (
        2,
        6,
        "`i` has no key `nme`.",
        "Did you mean `name`?",
    )


def test_a_branch_that_is_not_taken_is_compiled_all_the_same() -> None:
    assert code_of("{% if false %}{{ x | nope }}{% endif %}") == "expression.unknown_filter"
