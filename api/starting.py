"""Starting an execution over HTTP: accepted durably first, and then, if the client likes, what it comes to in the same answer."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from api.state import State
from engine import admission, listing, queries
from engine.states import EXECUTION_FINAL


async def start(state: State, wish: admission.Request, wait: int) -> Response:
    """Accept an execution: 202 and where it is, or 200 and its result, or its answer, if it has one within `wait` seconds."""
    try:
        accepted = await admission.accept(state.runtime, wish)
    except admission.InputInvalid as error:
        raise _within_body(error) from None
    headers = {"Location": f"/api/v1/executions/{accepted.execution}"}
    if not wait and accepted.new:
        return JSONResponse({"id": accepted.execution, "status": "created"}, 202, headers)
    body = await ended(state, accepted.execution, wait, wish.active.project, answers=True)
    if wait:
        headers["Preference-Applied"] = f"wait={wait}"
    return JSONResponse(body, 200 if _is_there(body, answers=True) else 202, headers)


async def ended(
    state: State, execution: str, wait: float, project: str, *, answers: bool = False
) -> listing.Body:
    """Return an execution when it has ended, or with `answers` has answered, or as it is after `wait` seconds."""
    now = asyncio.get_running_loop().time
    deadline = now() + wait
    while True:
        left = deadline - now()
        told = left > 0 and await state.watcher.told(execution, left, answers=answers)
        body: listing.Body = await state.runtime.reader.read(
            lambda connection: queries.execution(connection, execution, project=project)
        )
        if not told or _is_there(body, answers=answers):
            return body


def _is_there(body: listing.Body, *, answers: bool) -> bool:
    return body["status"] in EXECUTION_FINAL or (answers and "answer" in body)


def _within_body(error: admission.InputInvalid) -> admission.InputInvalid:
    """Return a misfit of the input with pointers into the request's body, where the input is a part."""
    details = dict(error.details)
    found = details.get("errors")
    if isinstance(found, list):
        details["errors"] = [
            {**each, "pointer": f"/input{each.get('pointer', '')}"}
            for each in found
            if isinstance(each, dict)
        ]
    return admission.InputInvalid(error.message, hint=error.hint, **details)
