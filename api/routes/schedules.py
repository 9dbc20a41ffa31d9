"""Schedules: what the clock starts. Those that stand in a definition are shown and paused here, and changed there."""

from __future__ import annotations

import re
from typing import Annotated, cast

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, pages, preferences, principal
from api.permission import needs
from api.state import of
from celeriac import Json
from engine import admission, catalog
from engine.errors import Invalid
from engine.store.database import Connection
from engine.triggers import schedules
from engine.triggers.backfilling import BackfillInvalid, backfill, past_slots
from engine.triggers.scheduler import limited
from engine.triggers.scheduler import request as wish_of
from engine.triggers.spec import INSTANT_HINT, Overlap, Spec, instant

router = APIRouter(prefix="/schedules", tags=["schedules"])

OVERLAPS = ("skip", "buffer_one", "buffer_all", "cancel_other", "allow")
LONGEST_REASON = 1_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

Count = Annotated[int, Query(ge=1, le=schedules.MOST_SHOWN, description="How many slots.")]
After = Annotated[str | None, Query(max_length=40, description="An instant; the slots behind it are shown.")]


@router.get("", operation_id="schedules", dependencies=[needs("trigger:read")])
async def listing(
    request: Request,
    workflow: Annotated[str | None, Query(max_length=200)] = None,
    limit: pages.Limit = 50,
    cursor: pages.Cursor = None,
) -> Response:
    """List schedules, with their next slots."""
    after, project = pages.by_name(request, cursor), principal.project(request)
    return pages.answer(
        request,
        await of(request).runtime.reader.read(
            lambda connection: schedules.listing(
                connection, limit, workflow=workflow, after=after, project=project
            )
        ),
    )


@router.post("", status_code=201, operation_id="add_schedule", dependencies=[needs("trigger:manage")])
async def add(request: Request) -> Response:
    """Make a schedule for a workflow: `{workflow, name, config}`; the config is that of a schedule trigger."""
    state = of(request)
    body = await bodies.read_object(request, "workflow", "name", "config")
    workflow, title = body.get("workflow"), body.get("name")
    if not isinstance(workflow, str):
        raise Invalid("`workflow` is the name or the id of a workflow.")
    if not isinstance(title, str) or not _NAME.fullmatch(title):
        hint = "A letter or underscore, then letters, digits and underscores, at most 64 in all."
        raise Invalid("`name` is no name of a schedule.", hint=hint)
    config = schedules.check(body.get("config"))
    name = state.runtime.clock.mint("sched")
    project = principal.project(request)
    change = schedules.add(name, workflow, title, config, state.runtime.clock.now(), project=project)
    made = await noting.change(request, change, "schedule:add", name, workflow=workflow)
    return JSONResponse(made, 201, {"Location": f"/api/v1/schedules/{name}"})


@router.post("/preview", operation_id="preview_config", dependencies=[needs("trigger:read")])
async def preview_config(request: Request, count: Count = 10, after: After = None) -> Response:
    """Show when a config would be due, and save nothing: `{config}`."""
    body = await bodies.read_object(request, "config")
    spec = Spec.parse(schedules.check(body.get("config")))
    since = of(request).runtime.clock.now() if after is None else _instant(after, "after")
    return JSONResponse({"data": schedules.preview(spec, "", since, count)})


@router.get("/{schedule}", operation_id="schedule", dependencies=[needs("trigger:read")])
async def show(request: Request, schedule: str) -> Response:
    """Show a schedule."""
    project = principal.project(request)
    return JSONResponse(
        await of(request).runtime.reader.read(
            lambda connection: schedules.show(connection, schedule, project=project)
        )
    )


@router.put("/{schedule}", operation_id="replace_schedule", dependencies=[needs("trigger:manage")])
async def replace(request: Request, schedule: str) -> Response:
    """Give a schedule another config: `{config}`. What is past is not made up for."""
    body = await bodies.read_object(request, "config")
    config = schedules.check(body.get("config"))
    now, project = of(request).runtime.clock.now(), principal.project(request)
    change = schedules.replace(schedule, config, now, project=project)
    return JSONResponse(await noting.change(request, change, "schedule:replace", schedule))


@router.delete(
    "/{schedule}", status_code=204, operation_id="remove_schedule", dependencies=[needs("trigger:manage")]
)
async def remove(request: Request, schedule: str) -> Response:
    """Remove a schedule; what it has started goes on."""
    change = schedules.remove(schedule, project=principal.project(request))
    await noting.change(request, change, "schedule:remove", schedule)
    return Response(status_code=204)


@router.post("/{schedule}/pause", operation_id="pause_schedule", dependencies=[needs("trigger:manage")])
async def pause(request: Request, schedule: str) -> Response:
    """Let a schedule start nothing until it is resumed: `{reason?}`."""
    body = await bodies.read_object(request, "reason")
    reason = body.get("reason", "")
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON or "\0" in reason:
        message = f"`reason` is a text of at most {LONGEST_REASON:,} characters."
        raise Invalid(message)
    now, project = of(request).runtime.clock.now(), principal.project(request)
    change = schedules.pause(schedule, reason, now, project=project)
    return JSONResponse(await noting.change(request, change, "schedule:pause", schedule))


@router.post("/{schedule}/resume", operation_id="resume_schedule", dependencies=[needs("trigger:manage")])
async def resume(request: Request, schedule: str) -> Response:
    """Let a schedule go on with its next slot. What was due in the pause is not made up for: a backfill does that."""
    now, project = of(request).runtime.clock.now(), principal.project(request)
    change = schedules.resume(schedule, now, project=project)
    return JSONResponse(await noting.change(request, change, "schedule:resume", schedule))


@router.post(
    "/{schedule}/run", status_code=202, operation_id="run_schedule", dependencies=[needs("execution:start")]
)
async def run(request: Request, schedule: str) -> Response:
    """Start now what the schedule starts, besides its slots: `{payload?}`. Its `overlap` holds."""
    state, project = of(request), principal.project(request)
    body = await bodies.read_object(request, "payload", largest=state.settings.limits.input_bytes + 1024)
    found = await state.runtime.reader.read(
        lambda connection: schedules.find(connection, state.versions, schedule, project=project)
    )
    catalog.startable(found.due.active)
    wish = wish_of(
        schedule,
        found.due.name,
        found.spec,
        found.due.active,
        None,
        payload=body.get("payload"),
        principal=principal.named(request),
        idempotency_key=preferences.idempotency_key(request),
    )
    start = limited(admission.operation(state.runtime, wish), f"schedule {schedule}", found.spec.overlap)
    (accepted,) = await admission.accept_starts(state.runtime, [start])
    headers = {"Location": f"/api/v1/executions/{accepted.execution}"}
    return JSONResponse({"execution": accepted.execution, "new": accepted.new}, 202, headers)


@router.post("/{schedule}/backfill", operation_id="backfill", dependencies=[needs("execution:start")])
async def fill(request: Request, schedule: str) -> Response:
    """Start what past slots stand for that have started nothing yet: `{from, to, overlap?, dry?}`.

    Slots lie at or after `from` and before `to`. Asked for again, it goes on with what is left.
    """
    state, project = of(request), principal.project(request)
    body = await bodies.read_object(request, "from", "to", "overlap", "dry")
    overlap, dry = body.get("overlap", "buffer_all"), body.get("dry", False)
    if overlap not in OVERLAPS:
        message = f"`overlap` is one of {', '.join(OVERLAPS)}."
        raise BackfillInvalid(message)
    if not isinstance(dry, bool):
        raise BackfillInvalid("`dry` is true or false.")
    found = await state.runtime.reader.read(
        lambda connection: schedules.find(connection, state.versions, schedule, project=project)
    )
    catalog.startable(found.due.active)
    ends = [_instant(body.get(name), name) for name in ("from", "to")]
    slots = past_slots(found, ends[0], ends[1], state.runtime.clock.now())
    if dry:
        return JSONResponse({"slots": cast("list[Json]", slots), "count": len(slots)})
    done = await backfill(state.runtime, found, slots, cast("Overlap", overlap))
    return JSONResponse({"count": len(slots), **done.counts, "executions": done.executions})


@router.get("/{schedule}/preview", operation_id="preview_schedule", dependencies=[needs("trigger:read")])
async def preview(request: Request, schedule: str, count: Count = 10, after: After = None) -> Response:
    """Show the next slots, each as the clock on the wall shows it there, with its offset."""
    state, project = of(request), principal.project(request)
    since = state.runtime.clock.now() if after is None else _instant(after, "after")
    found = await state.runtime.reader.read(
        lambda connection: schedules.find(connection, state.versions, schedule, project=project)
    )
    return JSONResponse({"data": schedules.preview(found.spec, schedule, since, count)})


@router.get("/{schedule}/slots", operation_id="slots", dependencies=[needs("trigger:read")])
async def slots(request: Request, schedule: str, limit: pages.Limit = 50) -> Response:
    """Return what became of the latest slots."""
    project = principal.project(request)

    def read(connection: Connection) -> list[dict[str, Json]]:
        schedules.show(connection, schedule, project=project)
        return schedules.arrivals(connection, schedule, limit)

    return JSONResponse({"data": await of(request).runtime.reader.read(read)})


def _instant(value: Json, name: str) -> int:
    try:
        if isinstance(value, str) and len(value) <= 40:
            return instant(value)
    except (ValueError, OverflowError):
        pass
    message = f"`{name}` is no time."
    raise Invalid(message, hint=INSTANT_HINT)
