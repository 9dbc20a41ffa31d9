"""Run a playbook that was drafted in this execution, after people have agreed to exactly that text.

Who drafted it does not matter, for nothing of it is believed: it consists of steps that the author allows here, with what the
author fixes in them and no expressions, asks before what changes something, and was approved as it is. Else nothing of it runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, JsonValue, StrictBool

from celeriac import Call, Context, Effect, Fail, Json, node
from celeriac.contract import TRUSTED
from nodes.ai.ai_playbook import STEPS

_YEAR = 366 * 86_400.0
_FIELDS = frozenset({"id", "order", "action", "params", "approval", "on_failure", "estimated_success"})
_BRACES = ("{{", "{%", "{#")


class Permitted(BaseModel, extra="forbid"):
    """What a step may do."""

    type: str = Field(description="The node type.", min_length=1)
    fixed: dict[str, JsonValue] = Field(
        {},
        description="Params that it has to have just like this; what chooses a place or a name can only stand here.",
    )
    approval: StrictBool | None = Field(
        None, description="Whether the step has to ask people. Default: when it changes something."
    )


class Config(BaseModel, extra="forbid"):
    """The playbook, and what may be in it."""

    playbook: JsonValue = Field(
        description="The playbook, as people were shown it: a document with `name` and `definition`."
    )
    actions: Annotated[list[Permitted], Field(min_length=1, max_length=64)] = Field(
        description="What its steps may do.", json_schema_extra={TRUSTED: True}
    )
    input: JsonValue = Field({}, description="The payload it starts with.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["result"],
    "properties": {"result": {"description": "What the playbook came to."}},
    "additionalProperties": False,
}


@node("playbook_run", effect=Effect.KEYED, calls=True, foreign=True, timeout=_YEAR, output=OUTPUT)
async def playbook_run(config: Config, ctx: Context) -> Json:
    """Run a drafted playbook that people have agreed to, as an execution of its own."""
    playbook = _vetted(ctx, config)

    async def look(_: str) -> Json:
        if not await ctx.agreed(playbook):
            raise Fail(
                "playbook.not_approved",
                f"Nobody has agreed to exactly this playbook in this execution, so {ctx.node_id} does not run it. Put an "
                "approval before the node, with the same playbook in `show`.",
                {"node": ctx.node_id},
            )
        return True

    await ctx.step("agreed", Effect.READ, look)
    name = await ctx.keep(playbook)
    return {"result": await ctx.call("run", Call(name, config.input))}


def _vetted(ctx: Context, config: Config) -> dict[str, Json]:
    """Return the playbook when all of it is allowed. Raises `Fail` (`playbook.not_allowed`, `playbook.invalid`)."""
    playbook = config.playbook
    if not isinstance(playbook, dict) or playbook.keys() - {"name"} != {"definition"}:
        raise _refused("", "it is no document with a name and a definition, and nothing else")
    definition = playbook["definition"]
    steps: Any = definition.get("steps") if isinstance(definition, dict) and len(definition) == 1 else None
    if not isinstance(steps, list) or not 0 < len(steps) <= STEPS:
        raise _refused("/definition", f"it is not made of steps alone, 1 to {STEPS}")
    if any(each in text for text in _texts(playbook) for each in _BRACES):
        raise _refused("", "it has braces in it that would be read as an expression")
    for number, step in enumerate(steps):
        place = f"/definition/steps/{number}"
        if (
            not isinstance(step, dict)
            or step.keys() - _FIELDS
            or not isinstance(step.get("params", {}), dict)
        ):
            raise _refused(place, f"a step has {', '.join(sorted(_FIELDS))}, and nothing else")
        _allowed(ctx, config.actions, step, place)
    if found := ctx.mistakes(playbook):
        first = found[0]
        message = (
            f"The playbook has {len(found)} mistakes. The first, at {first['pointer']}: {first['message']}"
        )
        raise Fail("playbook.invalid", message, {"mistakes": list(found[:20])})
    return playbook


def _allowed(ctx: Context, actions: Iterable[Permitted], step: Mapping[str, Any], place: str) -> None:
    """Look whether one of the actions allows a step. Raises `Fail` with what the last one that came near has against it."""
    params: dict[str, Json] = step.get("params", {})
    why = f"no action allows {str(step.get('action'))[:100]!r} with such params"
    for each in actions:
        if each.type != step.get("action") or any(
            name not in params or not _same(params[name], value) for name, value in each.fixed.items()
        ):
            continue
        chosen = sorted((params.keys() - each.fixed.keys()) & set(ctx.trusted(each.type)))
        asks = each.approval
        if asks is None:
            asks = ctx.effect(each.type, params) in (Effect.KEYED, Effect.ONCE)
        if chosen:
            why = f"{chosen[0]!r} chooses where something goes or in whose name, and is not `fixed`"
        elif asks and step.get("approval") is not True:
            why = "it changes something and asks nobody: `approval` has to be true"
        else:
            return
    raise _refused(place, why)


def _texts(value: Json) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from _texts(each)


def _same(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON; 1 is not true there."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _refused(place: str, why: str) -> Fail:
    return Fail(
        "playbook.not_allowed",
        f"The playbook is not run: at {place or 'its top'}, {why}. Correct `actions` of the node, or have it drafted anew.",
        {"pointer": place},
    )
