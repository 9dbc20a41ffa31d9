"""Run a few lines of Python that stand in the definition, in a sandbox that reaches nothing: no file, no network, no process.

The sandbox is Monty (https://github.com/pydantic/monty), an interpreter of its own for a part of Python, in a process that is a
child of the worker's child. It can do nothing but compute; memory, time and depth are limited, and a limit that is passed ends
the node and nothing else. The code is the author's: no expression becomes a part of it, values come as `inputs`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, Field, JsonValue, WithJsonSchema

from celeriac import Context, Fail, Json, node
from celeriac.contract import LITERAL

MOST_SECONDS, MOST_MEMORY = 60.0, 512
DEPTH = 200
_PRINTED = 10_000
"""Characters of what it prints that are kept."""
_GRACE = 5.0

Code = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 50_000, LITERAL: True})]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class Config(BaseModel, extra="forbid"):
    """The code, what it gets, and how much it may take."""

    code: Code = Field(
        description="The code. What its last line comes to is the output. It holds no expression.",
        min_length=1,
        max_length=50_000,
    )
    inputs: dict[_Name, JsonValue] = Field({}, description="Values, by the names that the code has for them.")
    seconds: float = Field(5.0, description="How long it may compute.", gt=0, le=MOST_SECONDS)
    memory: int = Field(64, description="How many megabytes it may take.", ge=1, le=MOST_MEMORY)


OUTPUT: dict[str, Json] = {"description": "What the last line of the code comes to."}


@node("code", process=True, timeout=MOST_SECONDS + 2 * _GRACE, output=OUTPUT)
def code(config: Config, ctx: Context) -> Json:
    """Run a few lines of Python in a sandbox, and return what the last one comes to."""
    try:
        import pydantic_monty as monty
    except ImportError as error:
        remedy = "Install it for every worker: pip install pydantic-monty."
        raise Fail("code.not_installed", f"The sandbox for code is not installed. {remedy}") from error
    printed = monty.CollectString()
    limits: Any = {
        "max_feed_duration_secs": config.seconds,
        "max_memory": config.memory * 1_000_000,
        "max_recursion_depth": DEPTH,
    }
    try:
        with (
            monty.Monty(min_processes=1, max_processes=1, request_timeout=config.seconds + _GRACE) as pool,
            pool.checkout(limits=limits) as session,
        ):
            found = session.feed_run(config.code, inputs=dict(config.inputs), print_callback=printed)
    except monty.MontySyntaxError as error:
        raise Fail("code.syntax", f"The code cannot be read: {_said(error)}") from error
    except monty.MontyCrashedError as error:
        raise Fail("code.limit", f"The code was stopped: {_said(error)}") from error
    except monty.MontyRuntimeError as error:
        said = _said(error)
        limit = said.startswith(("TimeoutError", "MemoryError", "RecursionError"))
        raise Fail("code.limit" if limit else "code.failed", f"The code failed: {said}") from error
    except monty.MontyError as error:
        raise Fail("code.failed", f"The code failed: {_said(error)}") from error
    if text := printed.output[:_PRINTED]:
        ctx.log(text)
    return _json(found, 0)


def _said(error: Exception) -> str:
    return str(error)[:1000]


def _json(value: Any, depth: int) -> Json:
    """Return what the code came to as JSON. Raises `Fail` for what is none."""
    if depth > DEPTH:
        raise Fail("code.output", "What the code comes to is nested too deeply.")
    if value is None or isinstance(value, (bool, str)) or (isinstance(value, int) and type(value) is int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (list, tuple)):
        return [_json(each, depth + 1) for each in value]
    if isinstance(value, dict) and all(isinstance(each, str) for each in value):
        return {key: _json(each, depth + 1) for key, each in value.items()}
    raise Fail(
        "code.output", f"What the code comes to holds something that is no JSON: {type(value).__name__}."
    )
