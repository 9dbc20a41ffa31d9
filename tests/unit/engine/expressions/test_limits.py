from __future__ import annotations

import sys
import threading

import pytest

from engine.expressions import (
    ExpressionError,
    Json,
    Limits,
    Scope,
    compile_expression,
    compile_template,
    compile_value,
    derived_entropy,
)
from engine.expressions.values import DEPTH
from tests.expressions import code_of, refusal_of, scope, value_of


def refused(source: str, limits: Limits, **values: Json) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        compile_template(source, limits).evaluate(scope(**values))
    return caught.value


def test_the_limits_are_those_that_were_promised() -> None:
    limits = Limits()

    assert (limits.source_bytes, limits.nodes, limits.depth) == (16_384, 2_000, 50)
    assert (limits.steps, limits.output_bytes, limits.int_bits) == (50_000, 1_048_576, 4_096)


@pytest.mark.parametrize("filler", ["x", "é"])
def test_a_source_may_have_so_many_bytes_and_not_one_more(filler: str) -> None:
    room = 16_384 - len("{{ a }}")
    width = len(filler.encode())
    text = filler * (room // width) + "x" * (room % width)

    assert value_of("{{ a }}" + text, a=1) == "1" + text
    assert refusal_of("{{ a }}x" + text, a=1).message == "The template is larger than 16,384 bytes."
    assert code_of("{{ a }}x" + text) == "expression.too_large"


def test_an_expression_without_braces_has_the_same_limit() -> None:
    assert compile_expression("a" + " " * 16_383).evaluate(scope(a=1)) == 1
    with pytest.raises(ExpressionError) as caught:
        compile_expression("a" + " " * 16_384)
    assert caught.value.code == "expression.too_large"


def test_text_without_tags_may_be_as_long_as_it_likes() -> None:
    assert value_of("x" * 100_000) == "x" * 100_000


def test_a_template_may_have_so_many_nodes_and_not_one_more() -> None:
    def of_nodes(count: int) -> str:
        return "{{ [" + "1," * (count - 1) + "] }}"

    assert value_of(of_nodes(2_000)) == [1] * 1_999
    error = refusal_of(of_nodes(2_001))
    assert (error.code, error.message) == ("expression.too_large", "The template has more than 2,000 parts.")


def test_keys_of_a_path_and_statements_count_as_nodes() -> None:
    assert compile_template("{{ a.b.c }}", Limits(nodes=3)).references
    assert refused("{{ a.b.c.d }}", Limits(nodes=3)).code == "expression.too_large"
    assert refused("x{% if a %}{{ b }}y{% endif %}z", Limits(nodes=4)).code == "expression.too_large"
    assert refused("{% for i in [] %}{% endfor %}", Limits(nodes=2)).code == "expression.too_large"


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("[", "]"),
        ("not ", ""),
        ("{'a': ", "}"),
        ("-", ""),
        ("1 + (", ")"),
        ("1 if 1 else ", ""),
        ("1 and (", ")"),
    ],
)
def test_an_expression_may_be_so_deep_and_not_one_deeper(opening: str, closing: str) -> None:
    deepest = "{{ " + opening * 49 + "1" + closing * 49 + " }}"
    deeper = "{{ " + opening * 50 + "1" + closing * 50 + " }}"

    assert value_of(deepest) is not None
    error = refusal_of(deeper)
    assert (error.code, error.message) == (
        "expression.too_large",
        "The template is nested more than 50 deep.",
    )


def test_operators_in_a_row_are_nested_in_each_other() -> None:
    assert value_of("{{ 1" + " + 1" * 49 + " }}") == 50
    assert code_of("{{ 1" + " + 1" * 50 + " }}") == "expression.too_large"
    assert value_of("{{ ' a '" + " | trim" * 49 + " }}") == "a"
    assert code_of("{{ ' a '" + " | trim" * 50 + " }}") == "expression.too_large"


def test_blocks_count_towards_the_depth() -> None:
    def blocks(count: int) -> str:
        return "{% if 1 %}" * count + "{{ 1 }}" + "{% endif %}" * count

    assert value_of(blocks(49)) == "1"
    assert code_of(blocks(50)) == "expression.too_large"


def test_parentheses_may_be_so_deep_and_not_one_deeper() -> None:
    assert value_of("{{ " + "(" * 50 + "1" + ")" * 50 + " }}") == 1
    error = refusal_of("{{ " + "(" * 51 + "1" + ")" * 51 + " }}")
    assert (error.code, error.message, error.column) == (
        "expression.too_large",
        "Brackets stand more than 50 deep.",
        54,
    )


@pytest.mark.parametrize(
    "source", ["{{ " + "not " * 4_000 + "1 }}", "{% if 1 %}" * 1_500, "{{ " + "-" * 16_000 + "1 }}"]
)
def test_what_no_parser_survives_is_refused(source: str) -> None:
    assert code_of(source) == "expression.too_large"


def test_a_path_may_have_more_keys_than_an_expression_may_be_deep() -> None:
    nested: Json = 1
    for _ in range(100):
        nested = {"a": nested}

    assert value_of("{{ x" + ".a" * 100 + " }}", x=nested) == 1


def test_an_evaluation_may_take_so_many_steps_and_not_one_more() -> None:
    # Two nodes outside of the loop and its sequence; the turn's body is one node, its target another.
    source = "{% for i in x %}{{ i }}{% endfor %}"
    turns: Json = list(range(10))

    exact = 2 + 10 * 2

    assert compile_template(source, Limits(steps=exact)).evaluate(scope(x=turns)) == "0123456789"
    error = refused(source, Limits(steps=exact - 1), x=turns)
    assert (error.code, error.message) == ("expression.budget", "`for` takes more than 21 steps, at `x`.")


def test_the_nodes_outside_of_loops_are_steps() -> None:
    assert compile_template("{{ 1 + a }}", Limits(steps=3)).evaluate(scope(a=1)) == 2
    error = refused("{{ 1 + a }}", Limits(steps=2), a=1)
    assert (error.code, error.message) == ("expression.budget", "The template takes more than 2 steps.")


@pytest.mark.parametrize(
    ("expression", "steps"),
    [
        ("x | reverse", 2 + 100),
        ("x | join", 2 + 100),
        ("x | sum", 2 + 100),
        ("x | map('string')", 3 + 100),
        ("x | select('odd')", 3 + 100),
        ("x | list", 2),
        ("x | first", 2),
        ("x[10:30]", 5 + 20),
        ("x + x", 3 + 200),
        ("x * 2", 3 + 200),
        ("range(100)", 2 + 100),
        ("99 in x", 4 + 100),
        ("x == x", 4 + 1 + 100 + 100),
        ("x | sort", 2 + 200),
        ("text | sha256", 2 + 4),
        ("'a' in text", 4 + 4),
        ("text == text", 4 + 4),
        ("text <= text", 4 + 4),
        ("[text] | sort", 3 + 2 + 4),
        ("text | length", 2),
        ("object | keys", 2 + 1),
        ("text | wordcount", 2 + 64),
        ("text | title", 2 + 64),
    ],
)
def test_what_is_looked_at_is_paid_for(expression: str, steps: int) -> None:
    values: dict[str, Json] = {"x": list(range(100)), "text": "a" * 1024, "object": {"a": 1}}
    evaluate = compile_expression(expression, Limits(steps=steps)).evaluate
    too_few = compile_expression(expression, Limits(steps=steps - 1)).evaluate

    evaluate(scope(**values))
    with pytest.raises(ExpressionError) as caught:
        too_few(scope(**values))
    assert caught.value.code == "expression.budget"


@pytest.mark.parametrize(
    "expression",
    [
        "'a' * n",
        "n * 'a'",
        "('a' * (n // 2)) + ('a' * (n // 2)) if false else 'a' * n",
        "' ' | center(n)",
        "'' | center(n)",
        "'a' | indent(n - 1, true)",
    ],
)
def test_text_may_be_built_up_to_a_limit_and_not_one_byte_more(expression: str) -> None:
    size = 1_048_576

    assert len(str(compile_expression(expression).evaluate(scope(n=size)))) == size
    with pytest.raises(ExpressionError) as caught:
        compile_expression(expression).evaluate(scope(n=size + 1))
    assert caught.value.code == "expression.budget"
    assert "would build more than 1,048,576 bytes of text" in caught.value.message


@pytest.mark.parametrize(
    ("expression", "bytes_"),
    [
        ("text + 'b'", 101),
        ("text ~ 1", 101),
        ("[text, text] | join('--')", 202),
        ("text | upper", 100),
        ("text | replace('a', 'bb')", 200),
        ("text | replace('a', '')", 100),
        ("text | reverse", 100),
        ("text[10:]", 90),
        ("text | trim", 100),
        ("text | split", 100),
        ("text | b64encode", 136),
        ("text | urlencode", 300),
        ("('<' * 10) | escape", 50),
        ("[1, 20, null, 'a'] | tojson", 15),
        ("'é' * 10", 20),
        ("('é' * 10) | upper", 20 + 60),
        ("[text] | sort(case_sensitive=false)", 300),
        ("'[1]' | fromjson", 3),
    ],
)
def test_every_text_is_paid_for_in_bytes(expression: str, bytes_: int) -> None:
    values: dict[str, Json] = {"text": "a" * 100}

    compile_expression(expression, Limits(output_bytes=bytes_)).evaluate(scope(**values))
    with pytest.raises(ExpressionError) as caught:
        compile_expression(expression, Limits(output_bytes=bytes_ - 1)).evaluate(scope(**values))
    assert caught.value.code == "expression.budget"


def test_text_may_be_written_up_to_a_limit_and_not_one_byte_more() -> None:
    text = "a" * 1_048_574

    assert len(str(value_of("{{ x }}é", x=text))) == 1_048_575
    error = refusal_of("{{ x }}éb", x=text)
    assert (error.code, error.message) == (
        "expression.budget",
        "The template would write more than 1,048,576 bytes of text.",
    )
    assert refusal_of("b {{ x }}", x=text + "a").column == 6


def test_a_loop_cannot_write_more_than_the_limit() -> None:
    source = "{% for i in range(1000) %}{{ x }}{% endfor %}"

    assert code_of(source, x="a" * 2_000) == "expression.budget"


@pytest.mark.parametrize("source", ["{{ x | tojson }}", "{{ x }}.", "{{ x ~ '' }}", "{{ [x] | join }}"])
def test_json_is_measured_before_it_is_written(source: str) -> None:
    error = refusal_of(source, x=["a" * 600_000, {"b": "a" * 600_000}])

    assert error.code == "expression.budget"
    assert "would build more than 1,048,576 bytes of text" in error.message


def test_a_value_that_is_only_passed_on_costs_nothing() -> None:
    large: Json = ["x" * 5_000_000]

    assert value_of("{{ x }}", x=large) is large
    assert value_of("{{ x[0] if x else 1 }}", x=large) is large[0]  # type: ignore[index]


@pytest.mark.parametrize(
    "expression",
    [
        "x + 1",
        "x * 2",
        "1 - -x",
        "x // 0.5 if false else x + 1",
        "[x, 1] | sum",
        "(x ~ '' if false else x + 1) | abs",
    ],
)
def test_an_integer_may_have_so_many_bits_and_not_one_more(expression: str) -> None:
    largest = (1 << 4_096) - 1

    with pytest.raises(ExpressionError) as caught:
        compile_expression(expression).evaluate(scope(x=largest))
    assert caught.value.code == "expression.too_large"
    assert compile_expression("x - 1 + 1").evaluate(scope(x=largest)) == largest
    assert compile_expression("x * 1").evaluate(scope(x=largest)) == largest


def test_integers_of_the_source_and_of_texts_have_the_same_limit() -> None:
    largest, larger = str((1 << 4_096) - 1), str(1 << 4_096)

    assert value_of(f"{{{{ {largest} }}}}") == int(largest)
    assert value_of("{{ x | int }}", x=largest) == int(largest)
    assert value_of("{{ x | fromjson }}", x=largest) == int(largest)
    assert value_of("{{ x }}.", x=int(largest)) == largest + "."
    assert code_of(f"{{{{ {larger} }}}}") == "expression.too_large"
    assert code_of("{{ 0x1" + "0" * 1024 + " }}") == "expression.too_large"
    assert code_of("{{ " + "9" * 10_000 + " }}") == "expression.too_large"
    for source in ("{{ x | int }}", "{{ x | fromjson }}"):
        assert code_of(source, x=larger) == "expression.too_large"
        assert code_of(source, x="9" * 10_000) == "expression.too_large"
    for source in (
        "{{ x }}.",
        "{{ x ~ '' }}",
        "{{ [x] | tojson }}",
        "{{ -x }}",
        "{{ x | abs }}",
        "{{ x | fixed }}",
    ):
        assert code_of(source, x=int(larger)) == "expression.too_large"


def test_a_product_is_refused_before_it_is_made() -> None:
    x = 1 << 4_000

    assert code_of("{{ " + "x * " * 40 + "x }}", x=x) == "expression.too_large"
    assert code_of("{{ x * x }}", x=1 << 40_000_000) == "expression.too_large"


def nested(depth: int) -> Json:
    value: Json = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "source", ["{{ x | tojson }}", "{{ x }}.", "{{ [x] | unique | length }}", "{{ x | tojson(1) }}"]
)
def test_data_may_be_so_deep_and_not_one_deeper(source: str) -> None:
    assert value_of(source, x=nested(DEPTH)) is not None
    assert code_of(source, x=nested(DEPTH + 1)) == "expression.too_large"
    assert code_of(source, x=nested(100_000)) == "expression.too_large"


def test_endlessly_deep_data_is_compared_and_passed_on_without_a_crash() -> None:
    deep, other = nested(20_000), nested(20_000)

    assert value_of("{{ x }}", x=deep) is deep
    assert value_of("{{ x == y }}", x=nested(10_000), y=nested(10_000)) is True
    assert code_of("{{ x == y }}", x=nested(50_000), y=nested(50_000)) == "expression.budget"
    assert value_of("{{ x | flatten | length }}", x=[deep, other]) == 2


def test_data_that_contains_itself_is_refused_and_not_followed_for_ever() -> None:
    circle: list[Json] = []
    circle.append(circle)

    assert code_of("{{ x }}.", x=circle) == "expression.too_large"
    assert code_of("{{ x == [x] }}", x=circle) == "expression.budget"


def test_a_value_to_compile_may_be_so_deep_and_not_one_deeper() -> None:
    assert compile_value(nested(DEPTH)).is_static
    with pytest.raises(ExpressionError) as caught:
        compile_value(nested(DEPTH + 1))
    assert (caught.value.code, caught.value.where) == ("expression.too_large", (0,) * DEPTH)


def test_a_caller_that_is_itself_deep_gets_an_error_and_no_crash() -> None:
    codes: list[str] = []
    template = compile_template("{{ " + "[" * 45 + "x" + "]" * 45 + " }}")

    def at(depth: int) -> None:
        if depth:
            at(depth - 1)
            return
        for attempt in (
            lambda: compile_template("{{ " + "[" * 46 + "x" + "]" * 46 + " }}"),
            lambda: compile_template("{{ 1" + " + 1" * 46 + " }}"),
            lambda: template.evaluate(Scope({"x": 1}, derived_entropy(b"", 0))),
        ):
            try:
                attempt()
            except ExpressionError as error:
                codes.append(error.code)

    thread = threading.Thread(target=at, args=(sys.getrecursionlimit() - 40,))
    thread.start()
    thread.join()

    assert codes == ["expression.too_large"] * 3
