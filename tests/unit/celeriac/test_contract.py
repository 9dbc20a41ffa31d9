from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel, Field

from celeriac import Context, Effect, Expr, Json, Retry, TryAgain, node
from celeriac.contract import EXPRESSION, retry_names, retry_to_json


class Config(BaseModel, extra="forbid"):
    """A config."""

    url: str = Field(description="Where.")
    when: Expr = None


def test_a_declaration_says_all_there_is_to_know() -> None:
    @node(
        "post",
        version=3,
        effect=Effect.KEYED,
        ports=("ok", "gone"),
        queue="io",
        waits=True,
        retry=Retry(5),
        timeout=7.0,
        output={"type": "object"},
    )
    async def post(config: Config, ctx: Context) -> Json:
        """Post something."""

    assert (post.name, post.version, post.key, post.summary) == ("post", 3, "post@3", "Post something.")
    assert (post.config, post.queue, post.waits, post.process) == (Config, "io", True, False)
    assert (post.effect_of({}), post.ports_of({})) == (Effect.KEYED, ("ok", "gone"))
    assert (post.retry, post.timeout, post.output) == (Retry(5), 7.0, {"type": "object"})


def test_what_is_not_declared_is_harmless() -> None:
    @node("plain")
    def plain(config: Config, ctx: Context) -> Json:
        pass

    assert (plain.key, plain.summary, plain.effect, plain.ports) == ("plain@1", "", Effect.NONE, ("out",))
    assert (plain.queue, plain.process, plain.waits, plain.retry) == ("default", False, False, Retry())


def test_effect_and_exits_may_follow_from_the_config() -> None:
    def effect(config: Mapping[str, Json]) -> Effect:
        return Effect.READ if config["url"] == "x" else Effect.ONCE

    @node("chosen", effect=effect, ports=lambda config: (str(config["url"]),))
    def chosen(config: Config, ctx: Context) -> Json:
        pass

    assert chosen.effect_of({"url": "x"}) is Effect.READ
    assert chosen.effect_of({"url": "y"}) is Effect.ONCE
    assert chosen.ports_of({"url": "y"}) == ("y",)


def test_the_schema_of_the_config_is_the_models_and_marks_expressions() -> None:
    @node("plain")
    def plain(config: Config, ctx: Context) -> Json:
        pass

    schema = plain.config_schema()
    assert schema["required"] == ["url"]
    assert schema["properties"]["url"]["description"] == "Where."
    assert schema["properties"]["when"][EXPRESSION] is True


def test_a_node_type_is_equal_to_itself_only() -> None:
    def run(config: Config, ctx: Context) -> Json:
        pass

    one, two = node("plain")(run), node("plain")(run)
    assert one != two
    assert len({one, two, one}) == 2


def without_annotation(config, ctx):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  that is the mistake
    pass


def with_a_dict(config: dict[str, Any], ctx: Context) -> Json:
    pass


def with_an_unknown_name(config: Nowhere, ctx: Context) -> Json:  # type: ignore[name-defined]  # noqa: F821  that is the mistake
    pass


@pytest.mark.parametrize("run", [without_annotation, with_a_dict, with_an_unknown_name])
def test_a_function_without_a_config_model_is_refused_by_its_name(run: Any) -> None:
    with pytest.raises(TypeError, match=f"{run.__name__}: annotate the first parameter"):
        node("bad")(run)


def test_retries_are_written_in_the_words_of_the_definition() -> None:
    policy = Retry(3, on=(ConnectionError, "http.*"), excluding=(TimeoutError,), delay=2.0, max_duration=9.0)
    assert retry_to_json(policy) == {
        "max_attempts": 3,
        "on": ["ConnectionError", "http.*"],
        "except": ["TimeoutError"],
        "delay": 2.0,
        "backoff": "exponential",
        "factor": 2.0,
        "max_delay": 60.0,
        "jitter": 0.1,
        "max_duration": 9.0,
        "retry_after": True,
    }


def test_a_policy_that_names_no_error_means_what_nodes_declare_repeatable() -> None:
    assert retry_to_json(Retry())["on"] == ["TryAgain"]
    assert retry_names((TryAgain, "a.b")) == ("TryAgain", "a.b")
