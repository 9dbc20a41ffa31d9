"""Forks: a new execution that takes over what another one came to, as far as that still holds."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, preferences, principal
from api.permission import needs
from api.starting import start
from api.state import State, of
from celeriac import Json
from engine import admission, bases, catalog
from engine.errors import Invalid

router = APIRouter(prefix="/executions", tags=["executions"])


@router.post(
    "/{execution}/fork", status_code=202, operation_id="fork", dependencies=[needs("execution:control")]
)
async def fork(request: Request, execution: str) -> Response:
    """Start an execution that keeps what another came to before some nodes. With `dry` only say what would be kept."""
    state = of(request)
    largest = state.settings.limits.input_bytes
    body = await bodies.read_object(request, "from", "version", "edits", "dry", largest=largest)
    dry = body.get("dry", False)
    if not isinstance(dry, bool):
        raise Invalid("`dry` is true or false.")
    return await fork_of(request, state, execution, wanted(body), dry=dry)


async def fork_of(
    request: Request, state: State, execution: str, wish: bases.Wanted, *, dry: bool = False
) -> Response:
    """Start a fork, or say what it would be."""
    wait, runtime = preferences.wait(request), state.runtime
    now, limits = runtime.clock.now(), state.settings.limits
    prepared: bases.Prepared = await runtime.reader.read(
        lambda connection: bases.prepare(
            connection, runtime.programs.plan, execution, wish, now, limits, principal.project(request)
        )
    )
    if dry:
        told: dict[str, Json] = {
            "base": execution,
            "version": {"id": prepared.active.version, "number": prepared.number},
            "nodes": prepared.verdicts(),
        }
        return JSONResponse(told)
    named = bases.FAILURE if wish.again is None else ",".join(sorted(wish.again))
    text = [execution, named, wish.version, dict(wish.outputs)]
    asked = admission.Request(
        catalog.startable(prepared.active),
        prepared.payload,
        kind="fork",
        base=execution,
        idempotency_key=preferences.idempotency_key(request),
        principal=principal.named(request),
        reply_to=state.reply_to if wait else None,
        fork=prepared.start,
        wish=json.dumps(text, sort_keys=True),
    )
    return await start(state, asked, wait)


def wanted(body: dict[str, Json]) -> bases.Wanted:
    """Return the wish that a body describes. Raises `Invalid`."""
    edits = body.get("edits", {})
    if not isinstance(edits, dict) or not set(edits) <= {"nodes", "input"}:
        raise Invalid("`edits` is an object that may have `nodes` and `input`.")
    return bases.Wanted(
        _again(body.get("from", [])),
        _version(body.get("version", bases.PINNED)),
        _outputs(edits.get("nodes", {})),
        edits.get("input"),
        "input" in edits,
    )


def _again(given: Json) -> tuple[str, ...] | None:
    if given == bases.FAILURE:
        return None
    if isinstance(given, list) and len(given) <= 10_000 and all(isinstance(each, str) for each in given):
        return tuple(map(str, given))
    raise Invalid("`from` is neither a list of nodes nor the word failure.")


def _version(given: Json) -> str | int:
    if type(given) is int and 0 < given < 2**31:
        return given
    if given in (bases.PINNED, bases.LATEST):
        return str(given)
    raise Invalid("`version` is none of pinned, latest and a number.")


def _outputs(nodes: Json) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, edit in nodes.items() if isinstance(nodes, dict) else [("", nodes)]:
        if not isinstance(edit, dict) or set(edit) != {"output"}:
            raise Invalid("`edits.nodes` has for each node an object with its `output`.")
        found[name] = edit["output"]
    return found
