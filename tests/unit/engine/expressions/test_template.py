from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from engine.expressions import (
    ExpressionError,
    Json,
    Limits,
    Scope,
    Template,
    compile_expression,
    compile_template,
    compile_value,
    template,
)
from engine.expressions.cache import Cache
from tests.expressions import refusal_of, scope


def test_a_value_is_rendered_where_it_holds_templates() -> None:
    compiled = compile_value(
        {
            "to": "{{ email.from }}",
            "subject": "Re: {{ email.subject }}",
            "n": 1,
            "list": [None, "{{ x }}", {"a": "b"}],
        }
    )
    values: dict[str, Json] = {"email": {"from": "a@b", "subject": "Hi"}, "x": [1]}

    assert compiled.render(scope(**values)) == {
        "to": "a@b",
        "subject": "Re: Hi",
        "n": 1,
        "list": [None, [1], {"a": "b"}],
    }
    assert not compiled.is_static


@pytest.mark.parametrize(
    "value", [None, True, 1, 1.5, "text", [], {}, [1, ["a"]], {"a": {"b": ["c"]}}, {"{{ k }}": 1}]
)
def test_a_value_without_templates_stays_the_very_same(value: Json) -> None:
    compiled = compile_value(value)

    assert compiled.is_static
    assert compiled.render(scope()) is value


def test_a_string_alone_is_a_value_too() -> None:
    assert compile_value("{{ x }}").render(scope(x={"a": 1})) == {"a": 1}


def test_rendering_leaves_the_compiled_value_as_it_was() -> None:
    value: Json = {"a": ["{{ x }}"]}
    compiled = compile_value(value)

    assert compiled.render(scope(x=1)) == {"a": [1]}
    assert compiled.render(scope(x=2)) == {"a": [2]}
    assert value == {"a": ["{{ x }}"]}


def test_templates_are_rendered_in_the_order_of_the_value() -> None:
    compiled = compile_value({"b": "{{ uuid() }}", "a": ["{{ uuid() }}"]})
    one_by_one = scope()
    first, second = (compile_template("{{ uuid() }}").evaluate(one_by_one) for _ in range(2))

    assert compiled.render(scope()) == {"b": first, "a": [second]}


def test_an_error_says_where_in_the_value_its_template_stands() -> None:
    with pytest.raises(ExpressionError) as compiling:
        compile_value({"a": [1, {"b": "{{ x + }}"}]})
    with pytest.raises(ExpressionError) as rendering:
        compile_value({"a": [1, {"b": "{{ x }}"}]}).render(scope())

    assert compiling.value.where == rendering.value.where == ("a", 1, "b")
    assert compile_template("{{ 1 }}").evaluate(scope()) == 1


def test_what_is_not_json_cannot_be_compiled() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_value({"a": [(1, 2)]})  # type: ignore[list-item]

    assert (caught.value.code, caught.value.where) == ("expression.type", ("a", 0))


def test_a_template_is_compiled_once() -> None:
    assert compile_template("{{ once }}") is compile_template("{{ once }}")
    assert compile_expression("once") is compile_expression("once")
    assert compile_expression("{{ once }}") is not compile_template("{{ once }}")


def test_other_limits_make_another_template() -> None:
    limits = Limits(nodes=1)

    assert compile_template("{{ once }}", limits) is compile_template("{{ once }}", limits)
    assert compile_template("{{ once }}", limits) is not compile_template("{{ once }}")


def test_a_template_has_its_source() -> None:
    assert isinstance(compile_template("a {{ b }}"), Template)
    assert compile_template("a {{ b }}").source == "a {{ b }}"


def test_the_cache_keeps_what_is_used_and_is_bounded() -> None:
    cache: Cache[int] = Cache(100)
    for number in range(1_000):
        cache.put(number, number, 5)
        assert cache.get(0) == 0

    kept = [number for number in range(1_000) if cache.get(number) is not None]
    assert 10 <= len(kept) <= 20
    assert 999 in kept


def test_the_cache_of_templates_weighs_their_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    cache: Cache[Template] = Cache(1_000)
    monkeypatch.setattr(template, "_templates", cache)
    for number in range(30):
        compile_template("{{ [" + "1, " * 98 + f"{number}] }}}}")

    generations = (cache._young, cache._old)
    assert [weight for each in generations for _, weight in each.values()] == [100] * 10


def test_an_error_carries_all_that_is_shown() -> None:
    error = refusal_of("a\n {{ nam }}", name=1)

    assert str(error) == "There is no `nam` here."
    assert error.to_json() == {
        "code": "expression.unknown_name",
        "message": "There is no `nam` here.",
        "hint": "Did you mean `name`?",
        "details": {"line": 2, "column": 5},
    }
    assert "hint" not in refusal_of("{{ 1 / 0 }}").to_json()


def test_an_error_survives_the_way_between_processes() -> None:
    error = refusal_of("a\n {{ nam }}", name=1)

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here

    assert copy.to_json() == error.to_json()


@pytest.mark.parametrize(
    "source", ["{{ x }}", "{{ x.a }}", "{{ [x][0] }}", "{{ x if true else 1 }}", "{{ [x] | first }}"]
)
def test_no_number_that_json_cannot_hold_comes_out(source: str) -> None:
    for number in (float("nan"), float("inf"), float("-inf")):
        value: Json = {"a": number} if ".a" in source else number
        with pytest.raises(ExpressionError) as caught:
            compile_template(source).evaluate(scope(x=value))
        assert caught.value.code == "expression.number"


@pytest.mark.parametrize(
    "source", ["{{ x }}.", "{{ [x] | tojson }}", "{{ {'a': x} }}.", "{{ x ~ '' }}", "{{ x + 1 }}"]
)
def test_no_number_that_json_cannot_hold_is_written(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template(source).evaluate(scope(x=float("nan")))

    assert caught.value.code == "expression.number"


def test_only_what_a_template_names_is_looked_up() -> None:
    from collections.abc import Mapping

    class Watched(Mapping[str, Json]):
        def __init__(self) -> None:
            self.asked: list[str] = []

        def __getitem__(self, key: str) -> Json:
            self.asked.append(key)
            if key == "a":
                return 1
            raise KeyError(key)

        def __iter__(self) -> Iterator[str]:
            return iter(("a",))

        def __len__(self) -> int:
            return 1

    watched = Watched()
    result = compile_template("{{ a + 1 if a else b }}").evaluate(Scope(watched, scope().entropy))

    assert (result, watched.asked) == (2, ["a", "a"])
