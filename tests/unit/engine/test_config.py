from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import Context, Expr, Json, node
from engine.config import schema_of, with_braces


class Inner(BaseModel):
    """A part of a config."""

    when: Expr
    text: str = ""


class Config(BaseModel):
    """Every way in which a config may hold an expression."""

    when: Expr = None
    text: str = ""
    maybe: Expr | None = None
    inner: Inner | None = None
    several: list[Inner] = []
    plain: list[str] = []
    by_name: dict[str, str] = {}
    pair: tuple[str, int] | None = None


@node("sample")
def sample(config: Config, _ctx: Context) -> Json:
    """Return nothing."""
    return None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"when": "a > 1"}, {"when": "{{ a > 1 }}"}),
        ({"when": "{{ a }}"}, {"when": "{{ a }}"}),
        ({"when": "{% if a %}1{% endif %}"}, {"when": "{% if a %}1{% endif %}"}),
        ({"when": True}, {"when": True}),
        ({"text": "a > 1"}, {"text": "a > 1"}),
        ({"maybe": "a > 1"}, {"maybe": "{{ a > 1 }}"}),
        ({"maybe": None}, {"maybe": None}),
        ({"inner": {"when": "a", "text": "a"}}, {"inner": {"when": "{{ a }}", "text": "a"}}),
        ({"inner": None}, {"inner": None}),
        (
            {"several": [{"when": "a"}, {"when": "{{ b }}"}]},
            {"several": [{"when": "{{ a }}"}, {"when": "{{ b }}"}]},
        ),
        ({"plain": ["a"]}, {"plain": ["a"]}),
        ({"by_name": {"when": "a"}}, {"by_name": {"when": "a"}}),
        ({"pair": ["a", 1]}, {"pair": ["a", 1]}),
        ({"unknown": "a"}, {"unknown": "a"}),
    ],
)
def test_a_bare_expression_gets_its_braces_and_nothing_else_does(
    written: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert with_braces(written, sample) == expected


def test_what_the_author_wrote_is_left_as_it_is() -> None:
    written: dict[str, Any] = {"several": [{"when": "a"}]}
    with_braces(written, sample)
    assert written == {"several": [{"when": "a"}]}


def test_a_schema_is_computed_once() -> None:
    assert schema_of(sample) is schema_of(sample)
