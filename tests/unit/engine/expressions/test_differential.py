"""Where both languages mean the same, Jinja2 itself is the judge."""

from __future__ import annotations

import re
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.expressions import ExpressionError, compile_expression, compile_template
from tests.expressions import scope

judge = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
judge.policies["truncate.leeway"] = 0

CONTEXT: dict[str, Any] = {
    "i": 3,
    "j": -7,
    "f": 2.5,
    "s": "hello World",
    "e": "",
    "l": [3, 1, 2],
    "w": ["b", "a", "c", "a"],
    "o": {"k": 1, "name": "Ann", "inner": {"deep": [1, {"x": "y"}]}},
    "rows": [{"n": 2, "t": "b"}, {"n": 1, "t": "a"}, {"n": 2, "t": "c"}],
}

small = st.integers(-50, 50)
words = st.text(st.sampled_from("abcXYZ 12-_äß"), max_size=8)


def built(pattern: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Return sources in which each @ of a pattern stands for a part."""

    def fill(found: tuple[Any, ...]) -> str:
        head, *tail = pattern.split("@")
        return head + "".join(f"{part}{rest}" for part, rest in zip(found, tail, strict=True))

    return st.tuples(*parts).map(fill)


def one_of(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


literals = words.map(_quoted)
integers = st.one_of(
    built("(@)", small),
    one_of("i", "j", "l[0]", "l[-1]", "o.k", "o.inner.deep[0]", "rows[1].n"),
    one_of("(s|length)", "(l|sum)", "(rows|length)", "(l|max)", "(l|min)"),
)
texts = st.one_of(literals, one_of("s", "e", "o.name", "o['name']", "w[0]", "o.inner.deep[1].x"))
lists = st.one_of(built("[@]", st.lists(small.map(str), max_size=4).map(", ".join)), st.just("l"))
text_lists = st.one_of(built("[@]", st.lists(literals, max_size=4).map(", ".join)), st.just("w"))


def grow_integers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        built("(@ @ @)", inner, one_of("+", "-", "*"), inner),
        built("(@ @ @)", inner, one_of("//", "%"), st.integers(1, 9)),
        built("(-@)", inner),
        built("(@ | abs)", inner),
        built("(@ if @ > @ else 0)", inner, inner, inner),
        built("(@ and @)", inner, inner),
        built("(@ or @)", inner, inner),
    )


def grow_texts(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        built("(@ @ @)", inner, one_of("+", "~"), inner),
        built("(@ ~ @)", inner, small),
        built("(@ | @)", inner, one_of("upper", "lower", "capitalize", "title", "trim", "string", "reverse")),
        built("(@ | @ | string)", inner, one_of("escape", "e")),
        built("(@ | replace(@, @))", inner, words.filter(bool).map(_quoted), literals),
        built("(@ | truncate(@, @))", inner, st.integers(3, 12), one_of("true", "false")),
        built("(@ | center(@))", inner, st.integers(0, 20)),
        built("(@[@:@])", inner, st.integers(-4, 4), st.integers(-4, 9)),
        built("(@ * @)", inner, st.integers(0, 3)),
        built("(@ or @)", inner, inner),
        built("(@ if @ else @)", inner, inner, inner),
    )


integer = st.recursive(integers, grow_integers, max_leaves=6)
text = st.recursive(texts, grow_texts, max_leaves=5)
order = one_of("<", "<=", ">", ">=", "==", "!=")
condition = st.one_of(
    built("@ @ @", integer, order, integer),
    built("@ @ @", text, st.one_of(order, one_of("in", "not in")), text),
    built("@ < @ <= @", integer, integer, integer),
    built("@ is @", integer, one_of("odd", "even", "divisibleby(3)", "number", "integer", "string", "none")),
    built("@ is not @", text, one_of("string", "number", "lower", "upper", "eq('a')", "defined")),
    built("@ is gt(@)", integer, integer),
    built("@ in @", integer, lists),
    built("@ not in @", text, text_lists),
    one_of("zz is defined", "o.zz is not defined", "o.k is defined", "'k' in o"),
)
sequence = st.one_of(
    lists,
    text_lists,
    built("@ | @ | list", lists, one_of("sort", "sort(reverse=true)", "unique", "reverse", "list")),
    built("@ | @ | list", lists, one_of("batch(2)", "batch(2, 0)", "map('abs')")),
    built("@ | @ | list", lists, one_of("select('odd')", "reject('odd')", "select('gt', 1)", "select")),
    built("@ | @ | list", text_lists, one_of("sort(case_sensitive=true)", "unique(case_sensitive=true)")),
    built("@ | @ | list", text_lists, one_of("map('upper')", "map('replace', 'a', 'b')", "select")),
    one_of("rows | map(attribute='t') | list", "rows | map(attribute='zz', default=0) | list"),
    one_of("rows | selectattr('n', 'eq', 2) | list", "rows | rejectattr('n', 'lt', 2) | list"),
    one_of("rows | sort(attribute='n') | map(attribute='t') | list", "o | dictsort(true) | first | list"),
    one_of("range(4) | list", "range(5, 1, -2) | list", "o | list"),
    built("@[@:@]", lists, st.integers(-3, 3), st.integers(-3, 3)),
    built("@ + @", lists, lists),
)
other = st.one_of(
    built("@ | join(@)", text_lists, literals),
    built("@ | @ | default(-1)", lists, one_of("first", "last", "min", "max")),
    built("@ / @", integer, st.integers(1, 9)),
    one_of("zz | default(1)", "zz.y | default('a')", "e | default('x', true)"),
    one_of("f | round(1)", "f | int", "s | wordcount", "s | indent(2, true)", "f * 2", "f // 2", "j % 3"),
)
expression = st.one_of(integer, text, condition, sequence, other)


def _plain(value: Any) -> Any:
    """Return a value of Jinja2 as JSON: its markup is text, its tuples are lists."""
    if isinstance(value, str):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


@settings(max_examples=150, deadline=None)
@given(expression)
def test_an_expression_means_what_it_means_in_jinja(source: str) -> None:
    try:
        expected = _plain(judge.compile_expression(source, undefined_to_none=False)(**CONTEXT))
    except jinja2.UndefinedError:
        # Jinja2 knows no tolerant chain such as `zz.y | default(1)`; here it is what the page promises.
        assert ".y | default" in source
        expected = "a"
    actual = compile_expression(source).evaluate(scope(**CONTEXT))

    assert (actual, type(actual)) == (expected, type(expected))


statement = st.one_of(
    built("{{ @ }}", text),
    built("{{- @ }} ", integer),
    built("{% if @ %}{{ @ }}{% else %} {{ @ }}{% endif %}", condition, text, text),
    built(
        "{% for v in @ if v < 9 %}{{ loop.index }}:{{ v + @ }}{% if not loop.last %}, {% endif %}"
        "{% else %}none{% endfor %}",
        lists,
        integer,
    ),
    built(
        "{% for v in @ -%} {% if @ %}{{ v }}{% elif loop.first %}!{% endif %} {%- endfor %}",
        text_lists,
        condition,
    ),
    built("{% set q = @ %}{{ q }}{% set q = q + 1 %}{{ q }}", integer),
    st.text(st.sampled_from("abc \n.,äß$"), max_size=6),
    one_of("{# note #}", "{% raw %}{{ x }}{% endraw %}"),
    st.just("{% for k, v in o.inner|dictsort(true) %}{{ k }}{% endfor %}"),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(statement, min_size=1, max_size=5))
def test_a_template_writes_what_it_writes_in_jinja(parts: list[str]) -> None:
    source = "".join(parts) + "."
    expected = judge.from_string(source).render(CONTEXT)

    assert compile_template(source).evaluate(scope(**CONTEXT)) == expected


garbage = st.text(st.sampled_from("{}%#-+*/|.,()[]'\"ab1 \n\\~=<>is"), max_size=40)


@settings(max_examples=500, deadline=None)
@given(st.one_of(garbage, garbage.map(lambda text: "{{ " + text + " }}"), st.text(max_size=40)))
def test_any_text_is_compiled_or_refused_with_its_place(source: str) -> None:
    result: object = None
    error = None
    try:
        result = compile_template(source).evaluate(scope(a=1, b={"a": "b"}, ab=[1]))
    except ExpressionError as refusal:
        error = refusal

    assert type(result) in (type(None), bool, int, float, str, list, dict)
    if error is not None:
        lines = re.split("\r\n|\r|\n", source)
        assert error.code.startswith("expression.")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1


@pytest.mark.parametrize(
    ("source", "ours", "theirs"),
    [
        ("{{ null }}", None, ""),
        ("{{ true }}.", "true.", "True."),
        ("{{ none }}.", "null.", "None."),
        ("{{ ['a'] }}.", '["a"].', "['a']."),
        ("{{ 2.5 | round }}", 2, "2.0"),
        ("{{ ['b', 'A'] | sort }}", ["A", "b"], "['A', 'b']"),
        ("{{ ['a', 'B'] | sort }}", ["B", "a"], "['a', 'B']"),
        ("{{ true == 1 }}", False, "True"),
        ("{{ 'a/b' | urlencode }}", "a%2Fb", "a/b"),
    ],
)
def test_where_the_two_differ_they_differ_on_purpose(source: str, ours: object, theirs: str) -> None:
    lenient = jinja2.Environment(autoescape=False)  # noqa: S701

    assert compile_template(source).evaluate(scope()) == ours
    assert lenient.from_string(source).render() == theirs
