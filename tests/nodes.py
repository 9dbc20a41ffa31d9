"""Node types that only tests have: they compute, misbehave, or change the world without a key."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import zlib

from pydantic import BaseModel, JsonValue

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, node


class Work(BaseModel, extra="forbid"):
    """How long to compute, and what to return."""

    seconds: float = 0.0
    value: JsonValue = None


@node("compute", process=True, queue="cpu")
def compute(config: Work, _ctx: Context) -> Json:
    """Keep a processor busy in a child."""
    end = time.monotonic() + config.seconds
    while time.monotonic() < end:
        pass
    return config.value


class Call(BaseModel, extra="forbid"):
    """Where to send an effect, and how long to stay afterwards."""

    url: str
    stay: float = 0.0


@node("once_effect", effect=Effect.ONCE)
async def once_effect(config: Call, ctx: Context) -> Json:
    """Change the world in a way that cannot be repeated, then linger before the answer is known."""
    body = {"execution": ctx.execution_id, "node": ctx.node_id}
    reply = await ctx.http.post(config.url, json=body)
    await asyncio.sleep(config.stay)
    return {"status": reply.status_code}


class Misfit(BaseModel, extra="forbid"):
    """What to return that no engine can store."""

    kind: str
    size: int = 0


@node("misfit")
def misfit(config: Misfit, _ctx: Context) -> Json:
    """Return what is no JSON, or too much of it."""
    deep: list[Json] = []
    for _ in range(config.size if config.kind == "deep" else 0):
        deep = [deep]
    values: dict[str, object] = {
        "nan": float("nan"),
        "surrogate": "\ud800",
        "nul": "a\0b",
        "object": object(),
        "large": "x" * config.size,
        "deep": deep,
    }
    return values[config.kind]  # type: ignore[return-value]  # the point is that it is none


class Death(BaseModel, extra="forbid"):
    """How to die."""

    kind: str = "kill"


@node("die", process=True, queue="cpu")
def die(config: Death, _ctx: Context) -> Json:
    """End the process it runs in."""
    if config.kind == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)
    return None


class Task(BaseModel, extra="forbid"):
    """What a task comes to: a value (its own id, unless another is given) or a failure, after some tries; or to nothing ever."""

    value: JsonValue = None
    fails: str | None = None
    tries: int = 0
    ends: bool = True

    def result(self, ctx: Context) -> Json:
        """What one attempt comes to."""
        if ctx.attempt <= self.tries:
            raise TryAgain("task.not_yet", "Not yet.")
        if self.fails is not None:
            raise Fail(self.fails, "As its author wants it.")
        return ctx.node_id if self.value is None else self.value


@node("task", effect=Effect.KEYED, retry=Retry(3, delay=0.1))
async def task(config: Task, ctx: Context) -> Json:
    """Take a short while, as long as nobody knows."""
    draw = zlib.crc32(ctx.idempotency_key.encode()) % 100
    await asyncio.sleep(draw / 1000 if config.ends else 3600)
    return config.result(ctx)


class Pages(BaseModel, extra="forbid"):
    """How many pages to go through, how long each takes, and at which whoever has begun with the first stays for ever."""

    pages: int = 1
    seconds: float = 0.0
    stuck: int | None = None


async def _turn(config: Pages, ctx: Context) -> Json:
    """Go on behind the last page that a heartbeat has told of. Returns the pages of this attempt."""
    first = ctx.last_heartbeat + 1 if isinstance(ctx.last_heartbeat, int) else 0
    for page in range(first, config.pages):
        while page == config.stuck and first == 0:
            await asyncio.sleep(0.05)
        await asyncio.sleep(config.seconds)
        await ctx.heartbeat(page)
    return list(range(first, config.pages))


@node("pages", effect=Effect.KEYED)
async def pages(config: Pages, ctx: Context) -> Json:
    """Go through pages, telling of each."""
    return await _turn(config, ctx)


@node("pages_apart", process=True, queue="cpu")
async def pages_apart(config: Pages, ctx: Context) -> Json:
    """The same in a child process."""
    return await _turn(config, ctx)


@node("counts", process=True, queue="cpu")
def counts(config: Pages, ctx: Context) -> Json:
    """Compute in a plain function, telling of each page."""
    first = ctx.last_heartbeat + 1 if isinstance(ctx.last_heartbeat, int) else 0
    for page in range(first, config.pages):
        while page == config.stuck and first == 0:
            time.sleep(0.05)
        time.sleep(config.seconds)
        ctx.heartbeat(page)
    return list(range(first, config.pages))


class Text(BaseModel, extra="forbid"):
    """What to say."""

    text: str


@node("aloud", effect=Effect.READ)
async def aloud(config: Text, ctx: Context) -> Json:
    """Say a text to whoever follows, and come to it."""
    with ctx.speech("text", "nobody") as say:
        say(config.text)
    return config.text


NODE_TYPES = (compute, once_effect, misfit, die, task, pages, pages_apart, counts, aloud)
