from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import nodes
from jinja2.parser import Parser

from engine.expressions import LIMITS, compile_expression, compile_template, language
from engine.expressions.language import Source
from tests.expressions import code_of, refusal_of, scope, value_of


@pytest.mark.parametrize(
    "source",
    ["", "plain", "{ a }", "}}", "a { b } c", '{"a": {"b": 1}}', "100 %}", "line\r\nline\r", "{\n{ a }}"],
)
def test_text_without_tags_means_itself(source: str) -> None:
    template = compile_template(source)

    assert (template.is_static, template.evaluate(scope())) == (True, source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ x }}", [1]),
        ("{{x}}", [1]),
        ("  {{ x }}\n", [1]),
        ("{{- x -}}", [1]),
        ("{# why #}{{ x }}", [1]),
        ("{{ x }}.", "[1]."),
        ("{{ x }} {{ x }}", "[1] [1]"),
        ("{{ x }}{{ x }}", "[1][1]"),
        ("{% if x %}{{ x }}{% endif %}", "[1]"),
        ("{# nothing #}", ""),
        ("{{ x, x }}", [[1], [1]]),
    ],
)
def test_a_template_that_is_one_expression_keeps_its_type(source: str, expected: object) -> None:
    assert value_of(source, x=[1]) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a\n{{ x }}\n", "a\n1\n"),
        ("a\r\n{{ x }}\r\nb\r", "a\r\n1\r\nb\r"),
        ("a \r\n {{- x -}} \r\n b", "a1b"),
        ("\r{# a\r\nb #}y\r\n{{ x }}\n\r", "\ry\r\n1\n\r"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{{ '{{' }} x }}", "{{ x }}"),
        ("{% if x %}\r\n{{ x }}{% endif %}", "\r\n1"),
    ],
)
def test_literal_text_stays_as_it_was_written(source: str, expected: str) -> None:
    assert value_of(source, x=1) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"{{ 'a\n\t\\\'\"' }}", "a\n\t\\'\""),
        (r"{{ '\x41é\U0001F600' }}", "Aé😀"),
        (r"{{ '\ud83d\ude00' }}", "😀"),
        ("{{ 'a' 'b' }}", "ab"),
        ("{{ 'é' }}", "é"),
        ("{{ 0x1f + 0b11 + 0o7 + 1_000 }}", 1041),
        ("{{ 1.5e3 }}", 1500.0),
    ],
)
def test_literals_mean_what_they_mean_in_jinja(source: str, expected: object) -> None:
    assert value_of(source) == expected


@pytest.mark.parametrize(
    ("source", "column", "message", "hint"),
    [
        ("{{ a && b }}", 6, "Unexpected char '&'.", "Write `and` for both, and `~` to join text."),
        (
            "{{ a || b }}",
            7,
            "Expected token 'name', got '|'.",
            "Write `or` for either; one `|` applies a filter.",
        ),
        ("{{ !a }}", 4, "Unexpected char '!'.", "Write `not a`, or `a != b`."),
        ("{{ a ? b : c }}", 6, "Unexpected char '?'.", "Write `x if condition else y`."),
        ("{{ a = 1 }}", 6, "Expected token '}}', got '='.", "Compare with `==`."),
        ("{{ $a }}", 4, "Unexpected char '$'.", "A name stands alone inside the braces: `{{ name }}`."),
        ("{{ }}", 4, "Expected an expression, got '}}'.", None),
        ("Hello {{ a", 10, "Unexpected end of template, expected '}}'.", None),
        ("{{ 'abc }}", 4, 'Unexpected char "\'".', None),
        ("{# never", 3, "Missing end of comment tag.", None),
        ("{{ (a }}", 7, "Unexpected '}', expected ')'.", None),
        (r"{{ '\d+' }}", 5, r"Text in quotes has no escape `\d`.", "Write two backslashes for one."),
        (r"{{ '\ud83d' }}", 4, "Text in quotes holds half a surrogate pair.", None),
        (r"{{ '\x00' }}", 4, "Text cannot hold the character NUL.", None),
        ("{% for a in b %}", 15, None, None),
        ("{% endif %}", 4, None, None),
        ("{{ a b }}", 6, "Expected token '}}', got 'b'.", None),
    ],
)
def test_a_mistake_in_the_syntax_has_its_place(
    source: str, column: int, message: str | None, hint: str | None
) -> None:
    error = refusal_of(source)

    assert (error.code, error.line, error.column, error.hint) == ("expression.syntax", 1, column, hint)
    assert message is None or error.message == message


def test_lines_and_columns_count_from_one_in_the_source_as_it_was_written() -> None:
    error = refusal_of("a\r\nbc {{ x }}\r\n  {{ nope }}\r\n", x=1)

    assert (error.line, error.column) == (3, 6)


@pytest.mark.parametrize(
    "statement",
    [
        "macro",
        "import",
        "from",
        "include",
        "extends",
        "block",
        "call",
        "filter",
        "autoescape",
        "with",
        "do",
        "print",
    ],
)
def test_statements_other_than_if_for_and_set_are_refused(statement: str) -> None:
    error = refusal_of(f"a\n{{% {statement} x %}}")

    assert (error.code, error.line, error.column) == ("expression.not_allowed", 2, 4)
    assert error.message == f"There is no statement `{statement}`."


def test_a_misspelt_statement_gets_a_hint() -> None:
    assert refusal_of("{% fore x in y %}").hint == "Did you mean `for`?"


@pytest.mark.parametrize("source", ["a > 3", "{{ a > 3 }}", " {{a > 3}} ", "a>3\n", "(a > 3)"])
def test_an_expression_may_stand_without_braces(source: str) -> None:
    assert compile_expression(source).evaluate(scope(a=4)) is True


@pytest.mark.parametrize(
    "source",
    [
        "",
        "  ",
        "a }} b {{ c",
        "{{ a }} and {{ b }}",
        "{{ a }} > 3",
        "{% if a %}{% endif %}",
        "a b",
        "a }}",
        "{{ a",
    ],
)
def test_where_an_expression_is_expected_a_text_is_refused(source: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the code is looked at below
        compile_expression(source)

    assert getattr(caught.value, "code", None) == "expression.syntax"


def test_a_plain_word_is_a_name_in_an_expression_and_text_in_a_template() -> None:
    assert compile_expression("a").evaluate(scope(a=1)) == 1
    assert compile_template("a").evaluate(scope(a=1)) == "a"


def test_a_result_that_looks_like_a_template_is_data() -> None:
    assert value_of("{{ x }} {{ y }}", x="{{ y }}", y="{% if %}") == "{{ y }} {% if %}"


@pytest.mark.parametrize("source", ["{{ a ** 2 }}", "{{ a[1:2, 3] }}", "{{ f(*a) }}", "{{ f(**a) }}"])
def test_syntax_of_jinja_outside_the_language_is_refused(source: str) -> None:
    assert code_of(source, a=[1]) in ("expression.not_allowed", "expression.unknown_function")


def _as_jinja_reads_it(source: str) -> list[nodes.Node]:
    return language._parse(Source(source), LIMITS, None, Parser.subparse)


def _offsets(tree: list[nodes.Node]) -> list[int]:
    return [each.lineno for node in tree for each in (node, *node.find_all(nodes.Node))]


shortcuts = st.lists(
    st.one_of(
        st.sampled_from(
            ["{{ a }}", "{{a.b}}", "{{ a.b_1.C }}", "{{\n a\t}}", "{{ not }}", "{{ true }}", "{{ none.a }}"]
        ),
        st.sampled_from(
            ["{{ a.1 }}", "{{ a . b }}", "{{ a.if }}", "{{ if.a }}", "{{ é }}", "{{ a.é }}", "{{ a-}}"]
        ),
        st.text(st.sampled_from("{}a. \n#%-"), max_size=3),
    ),
    max_size=5,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(shortcuts)
def test_the_shortcut_for_names_in_text_reads_what_jinja_reads(source: str) -> None:
    tree = language._names_in_text(source)
    if tree is not None and not language.is_plain(source):
        expected = _as_jinja_reads_it(source)
        assert tree == expected
        assert _offsets(tree)[1:] == _offsets(expected)[1:]


@pytest.mark.parametrize(
    "source", ["{{ a }}", "x {{ a.b }} y\n{{ c }}", "{{a}}{{b}}", "{{ a }}}", "{{ a.if }}", "}} {{ a }} }"]
)
def test_the_shortcut_is_taken_for_names_in_text(source: str) -> None:
    assert language._names_in_text(source) == _as_jinja_reads_it(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ a | b }}",
        "{{ not }}",
        "{{{ a }}",
        "{{ a }} {{ 1 }}",
        "{{ a }}{# b #}",
        "{{ a }}\r",
        "{{ 1 }} {{ a }}",
    ],
)
def test_the_shortcut_is_left_for_everything_else(source: str) -> None:
    assert language._names_in_text(source) is None
