"""The page about expressions is run, line by line, and names everything there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.expressions import ExpressionError, Json, compile_template
from engine.expressions.filters import FILTER_NAMES
from engine.expressions.functions import FUNCTIONS
from engine.expressions.language import STATEMENTS
from engine.expressions.limits import LIMITS
from engine.expressions.paths import LOOP
from engine.expressions.predicates import PREDICATES
from tests.expressions import scope

PAGE = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
NAMES: dict[str, Json] = json.loads(next(text for language, text in BLOCKS if language == "json"))
EXAMPLES = [line for language, text in BLOCKS if language == "jinja" for line in text.splitlines()]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_comes_to_what_the_page_says(example: str) -> None:
    source, expected = (part.strip() for part in example.rsplit(" → ", 1))
    try:
        result: object = compile_template(source).evaluate(scope(**NAMES))
    except ExpressionError as error:
        result, found = None, f"! {error.code}"
    else:
        found = json.dumps(result, ensure_ascii=False)

    assert found == expected if expected.startswith("!") else result == json.loads(expected)
    assert expected.startswith("!") or type(result) is type(json.loads(expected))


def test_no_example_stands_where_it_is_not_run() -> None:
    assert {language for language, _ in BLOCKS} == {"json", "jinja"}
    assert re.findall(r"\{\{(?! … \}\}|-`).*", PROSE) == []
    assert len(EXAMPLES) > 80


@pytest.mark.parametrize(
    "names", [FILTER_NAMES, tuple(PREDICATES), tuple(FUNCTIONS), LOOP, STATEMENTS], ids=lambda names: names[0]
)
def test_the_page_names_all_there_is(names: tuple[str, ...]) -> None:
    words = set(re.findall(r"\w+", PAGE))

    assert [name for name in names if name not in words] == []


def test_the_page_lists_filters_with_their_arguments() -> None:
    import inspect

    from engine.expressions.filters import FILTERS
    from engine.expressions.predicates import PREDICATES

    listed = re.findall(r"`(\w+)\(([^`\"…]*)…?\)`", PROSE)
    for name, arguments in listed:
        function = FILTERS.get(name) or PREDICATES.get(name)
        if function is None:
            continue
        parameters = list(inspect.signature(function).parameters.values())[2:]
        optional = [
            each.name + ("" if each.default is inspect.Parameter.empty else "?") for each in parameters
        ]
        assert [each.strip() for each in arguments.split(",")] == optional, name


def test_the_page_states_the_limits_as_they_are() -> None:
    for number in (LIMITS.source_bytes, LIMITS.nodes, LIMITS.depth, LIMITS.steps, LIMITS.int_bits):
        assert f" {number:,} " in PROSE.replace("\n", " ")
