import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checking.mentions import _plain_mentions, mentions
from engine.expressions import ExpressionError, Reference, compile_template

words = st.sampled_from(
    [
        "a",
        "order",
        "nodes",
        "now",
        "loop",
        "not",
        "none",
        "True",
        "null",
        "is",
        "if",
        "in",
        "x1",
        "_x",
        "item",
        "B",
        "é",
        "and",
        "or",
        "recursive",
        "elif",
        "self",
        "range",
    ]
)
paths = st.lists(words, min_size=1, max_size=12).map(".".join)
tags = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["{{", "{{ ", "{{- ", "{%", "{#", "{{{"]),
    paths,
    st.sampled_from(["", " ", "\n"]),
    st.sampled_from(["}}", "-}}", "}", "}}}", " | upper }}"]),
    st.just(""),
)
texts = st.lists(tags | st.text("{}%# \n\r\tab.\"'", max_size=4), max_size=4).map("".join)


def compiled(text: str) -> tuple[Reference, ...] | str:
    try:
        return compile_template(text).references
    except ExpressionError as error:
        return error.code


@settings(max_examples=1500, deadline=None)
@given(texts)
def test_what_is_read_without_compiling_is_what_the_compiler_reads(text: str) -> None:
    found = None if "\r" in text else _plain_mentions(text)
    if found is not None:
        assert found == compiled(text)


@settings(deadline=None)
@given(texts)
def test_mentions_are_those_of_the_compiled_template_or_the_same_refusal(text: str) -> None:
    try:
        found: tuple[Reference, ...] | str = mentions(text)
    except ExpressionError as error:
        found = error.code
    assert found == compiled(text)


def test_plain_paths_are_read_without_compiling() -> None:
    text = "Dear {{ customer.name }},\n\n{order} {{nodes.a.output.b}}."
    assert _plain_mentions(text) == (
        Reference(("customer", "name"), 1, 9, guarded=False),
        Reference(("nodes", "a", "output", "b"), 3, 11, guarded=False),
    )


def test_a_text_longer_than_any_limit_is_left_to_the_compiler() -> None:
    with pytest.raises(ExpressionError, match="larger than"):
        mentions("{{ a }}" * 3_000)
