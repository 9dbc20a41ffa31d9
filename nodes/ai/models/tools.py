"""The tools of an agent: what a model may ask for, what is done then, and what it is told of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Protocol, Self

from pydantic import BaseModel, Field, JsonValue, StrictBool, model_validator

from celeriac import Call, Context, Effect, Fail, Json, OnDecision, TryAgain
from celeriac.duration import seconds
from nodes.ai.models.asking import Text
from nodes.ai.models.provider import Tool, ToolCall
from nodes.ai.models.shape import misfits_of
from nodes.flow.approval import People
from nodes.flow.wait import Duration

SHOWN = 16_000
"""Characters of a tool's result that the model gets to see."""


class Usable(Protocol):
    """What a model may ask to be done, whoever has said what it is."""

    @property
    def name(self) -> str:
        """What the model calls it."""

    @property
    def description(self) -> str:
        """What it is, for people."""

    @property
    def parameters(self) -> Mapping[str, Json]:
        """The JSON Schema of what the model gives."""

    @property
    def type(self) -> str | None:
        """The node type that does it."""

    @property
    def workflow(self) -> str | None:
        """Or the workflow."""

    @property
    def approval(self) -> bool | Approval | None:
        """Whether people are asked before each use; None asks for what cannot be repeated."""

    def tool(self) -> Tool:
        """Return it as providers take it."""

    def shown(self) -> dict[str, Json]:
        """Return what people see of it, besides what the model gives."""

    def stray(self, arguments: Mapping[str, Json]) -> list[str]:
        """Return which arguments are none of its parameters."""

    def filled(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """Return the config with which its node type is used."""

    def foreign(self, given: Mapping[str, Json]) -> Collection[str]:
        """Return which fields of that the model has chosen."""


class Approval(BaseModel, extra="forbid"):
    """Who has to agree before the tool is used, and how long they have."""

    approvers: People = Field(
        default_factory=People, description="Who may decide; everybody, when nobody is named."
    )
    timeout: Duration | None = Field(
        None, description="How long they have; then the call is taken as rejected."
    )


class ToolConfig(BaseModel, extra="forbid"):
    """One tool: a node type with the part of its config that is fixed, or a workflow."""

    name: str = Field(description="What the model calls it.", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: Text = Field(description="What it does, for the model.", min_length=1)
    type: str | None = Field(
        None, description="The node type that does it, as name or name@version.", min_length=1
    )
    config: dict[str, JsonValue] = Field({}, description="What of its config is fixed.")
    workflow: str | None = Field(
        None, description="Or the workflow that does it, by name or id.", min_length=1
    )
    parameters: dict[str, JsonValue] = Field(
        {"type": "object", "properties": {}},
        description="JSON Schema of what the model gives: further fields of the config, or the input of the workflow.",
    )
    approval: StrictBool | Approval | None = Field(
        None,
        description="Whether people are asked before each use. Default: for what cannot be repeated.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.type is None) == (self.workflow is None):
            message = "exactly one of `type` and `workflow` is needed"
            raise ValueError(message)
        if self.workflow is not None and self.config:
            message = "a `workflow` has no `config`; it gets what the model gives"
            raise ValueError(message)
        if both := sorted(self.config.keys() & set(self.given)):
            message = f"{both[0]} is fixed in `config`, and the model may not give it as well"
            raise ValueError(message)
        return self

    @property
    def given(self) -> list[str]:
        """What the model may give."""
        properties = self.parameters.get("properties")
        return list(properties) if isinstance(properties, dict) else []

    def tool(self) -> Tool:
        """Return it as providers take it."""
        return Tool(self.name, self.description, self.parameters)

    def shown(self) -> dict[str, Json]:
        """Return what people see of it."""
        return {"does": self.workflow or self.type}

    def stray(self, arguments: Mapping[str, Json]) -> list[str]:
        """Return which arguments are none of its parameters."""
        return [name for name in arguments if name not in self.given]

    def filled(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """Return the config with which its node type is used."""
        return {**self.config, **given}

    def foreign(self, given: Mapping[str, Json]) -> Collection[str]:
        """Return which fields of that the model has chosen."""
        return given.keys()


Tools = Annotated[list[ToolConfig], Field(max_length=64)]


async def used(ctx: Context, tools: Mapping[str, Usable], call: ToolCall, step: str) -> dict[str, Json]:
    """Do what a model asks for, once for every `step`, and return what it came to: `{result}` or `{error}`.

    What the model got wrong and what failed is told to it, and is not tried again by itself. Raises `Uncertain` when nobody
    knows whether an effect happened that cannot be repeated.
    """

    async def do(_: str) -> Json:
        try:
            return {"result": await _do(ctx, tools, call, step)}
        except (Fail, TryAgain) as error:
            return {"error": {"code": error.code, "message": error.message}}

    found = await ctx.step(f"{step} result", Effect.KEYED, do)
    return found if isinstance(found, dict) else {}


def told(came_to: Json) -> str:
    """Return what the model is told of a tool."""
    text = json.dumps(came_to, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... (cut off after {SHOWN} characters)"


async def _do(ctx: Context, tools: Mapping[str, Usable], call: ToolCall, step: str) -> Json:
    tool = tools.get(call.name)
    if tool is None:
        raise Fail("ai.unknown_tool", f"There is no tool {call.name!r}; there is {', '.join(tools)}.")
    given = _given(tool, call.arguments)
    config = tool.filled(given)
    await _allowed(ctx, tool, config, given, step)
    if tool.workflow is not None:
        return await ctx.call(f"{step} call", Call(tool.workflow, given))
    return await ctx.use(f"{step} use", tool.type or "", config, tool.foreign(given))


def _given(tool: Usable, arguments: Json) -> dict[str, Json]:
    """Return what the model gives, held against the parameters. Raises `Fail` (`ai.bad_arguments`)."""
    found = ["they are no JSON object"]
    if isinstance(arguments, dict):
        found = misfits_of(tool.parameters)(arguments)
        found += [f"there is no parameter {name!r}" for name in tool.stray(arguments)]
        if not found:
            return arguments
    raise Fail("ai.bad_arguments", f"The arguments of {tool.name} do not fit: {'; '.join(found)}.")


async def _allowed(
    ctx: Context, tool: Usable, config: Mapping[str, Json], given: Mapping[str, Json], step: str
) -> None:
    """Ask people, where that is wished or an effect that cannot be repeated is done on a model's word."""
    wish = tool.approval
    if wish is None:
        wish = tool.type is not None and ctx.effect(tool.type, config) is Effect.ONCE
    if wish is False:
        return
    who = wish if isinstance(wish, Approval) else Approval()
    question = OnDecision(
        title=f"May the agent {ctx.node_id} use {tool.name}?",
        description=tool.description,
        show={"tool": tool.name, **tool.shown(), "given": dict(given)},
        users=tuple(who.approvers.users),
        roles=tuple(who.approvers.roles),
    )
    patience = None if who.timeout is None else seconds(who.timeout)
    decision: Any = await ctx.ask(f"{step} approval", question, patience)
    if not isinstance(decision, dict) or decision.get("decision") != "approved":
        said = "; ".join(filter(None, (each.get("comment") for each in decision.get("votes", ()))))
        raise Fail(
            "ai.rejected", f"People have rejected this call of {tool.name}{f': {said}' if said else ''}."
        )
