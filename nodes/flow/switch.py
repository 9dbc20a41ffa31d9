"""Go one or more of several ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Expr, Fail, Json, Route, node
from celeriac.contract import LITERAL, Decision

_FIXED: dict[str, JsonValue] = {LITERAL: True}
OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["matched"],
    "properties": {"matched": {"type": "array", "items": {"type": "string"}}},
    "additionalProperties": False,
}
_COMPARED = 16
"""So many cases are held against each other before anything runs; of more, any may be true."""
_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"


class Case(BaseModel, extra="forbid"):
    """One way."""

    name: str = Field(
        description="The port this case leaves through.", pattern=_NAME, json_schema_extra=_FIXED
    )
    when: Expr = Field(description="An expression that is true or false; braces are optional.")


class Config(BaseModel, extra="forbid"):
    """What to decide on."""

    cases: list[Annotated[Case, Field(json_schema_extra=_FIXED)]] = Field(
        description="The ways, in the order they are tried.", min_length=1, json_schema_extra=_FIXED
    )
    default: str | None = Field(
        None,
        description="The port to leave through when no case is true.",
        pattern=_NAME,
        json_schema_extra=_FIXED,
    )
    mode: Literal["first", "all"] = Field(
        "first", description="Leave through the first case that is true, or through all that are."
    )
    none: Literal["fail", "skip"] = Field(
        "fail", description="Without a default, when no case is true: fail, or skip everything that follows."
    )


def _ports(config: Mapping[str, Any]) -> tuple[str, ...]:
    names = [case["name"] for case in config["cases"]]
    return (*names, config["default"]) if config.get("default") else tuple(names)


def _decides(config: Mapping[str, Any]) -> dict[str | None, tuple[Decision, ...]]:
    if len(config["cases"]) > _COMPARED:
        return dict.fromkeys((*_ports(config), None), ())
    found: dict[str | None, tuple[Decision, ...]] = {}
    before: tuple[Decision, ...] = ()
    for case in config["cases"]:
        alone = config.get("mode", "first") == "first"
        found[case["name"]] = (*(before if alone else ()), (case["when"], True))
        before = (*before, (case["when"], False))
    if config.get("default"):
        found[config["default"]] = before
    elif config.get("none", "fail") != "fail":
        found[None] = before
    return found


@node("switch", ports=_ports, output=OUTPUT, decides=_decides)
def switch(config: Config, _ctx: Context) -> Route:
    """Leave through the port of the case that is true."""
    matched = [case.name for case in config.cases if _decided(case)]
    if config.mode == "first":
        matched = matched[:1]
    value: dict[str, Json] = {"matched": list(matched)}
    if matched:
        return Route(tuple(matched), value)
    if config.default is not None:
        return Route((config.default,), value)
    if config.none == "skip":
        return Route((), value)
    names = ", ".join(case.name for case in config.cases)
    message = f"None of the cases is true: {names}."
    raise Fail("switch.no_match", message)


def _decided(case: Case) -> bool:
    if not isinstance(case.when, bool):
        message = (
            f"The case {case.name} came to {type(case.when).__name__}, and has to come to true or false."
        )
        raise Fail("switch.not_boolean", message)
    return case.when
