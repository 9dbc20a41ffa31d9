"""One question to the first model of several that answers it: journaled, and paid for once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from celeriac import Context, Effect, Fail, Json, TryAgain, Uncertain
from celeriac.usage import Usage
from nodes.ai.models.keeping import Keeping
from nodes.ai.models.naming import Meant
from nodes.ai.models.provider import Ask, Letter, Message, Reply, ToolCall, Unreadable, Vectors
from nodes.ai.models.sending import Post

T = TypeVar("T")

_PER_IMAGE = 2000
_BYTES_PER_TOKEN = 2
"""Rather too few: what a call may cost is estimated before it is made, and should not be more afterwards."""

_OWN_FAULT = ("ai.invalid_request", "budget.")
"""No other model would do better."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Models in the order in which they are asked, how many seconds each may take, and where answers are kept, if they are."""

    models: tuple[Meant, ...]
    timeout: float
    kept: Keeping | None = None


def is_whole(reply: Reply) -> bool:
    """Whether an answer came to its end."""
    return reply.finish in ("stop", "tools")


async def answer(
    ctx: Context,
    chain: Chain,
    ask: Ask,
    step: str,
    *,
    aloud: bool = False,
    question: Ask | None = None,
    good: Callable[[Reply], bool] = is_whole,
) -> Reply:
    """Ask, once for every `step`: a later try of the node gets the answer from the journal.

    With `aloud` whoever follows the execution reads along; what counts is the whole answer all the same. Where the chain keeps
    answers, only `good` ones are kept and taken, as answers to `question`, which is `ask` unless that asks once more.
    Raises `TryAgain` when no model answers now and one may later, else the `Fail` of the first.
    """

    async def first(_: str) -> Json:
        said = step if aloud else None
        asking = _Asking(ask, question or ask, good, said)
        return reply_to_json(await _first(ctx, chain, lambda meant: _asked(ctx, chain, meant, asking)))

    return reply_from_json(await ctx.step(step, Effect.READ, first))


async def vectors(
    ctx: Context, chain: Chain, texts: Sequence[str], dimensions: int | None, step: str
) -> Vectors:
    """Turn texts into vectors, once for every `step`. Raises as `answer` does."""

    async def first(_: str) -> Json:
        return await embedded(ctx, chain, texts, dimensions, step)

    return await ctx.step(step, Effect.READ, first)  # type: ignore[return-value]  # a list was written above


async def embedded(
    ctx: Context, chain: Chain, texts: Sequence[str], dimensions: int | None, part: str = ""
) -> Vectors:
    """Turn texts into vectors, inside of a step. Raises as `answer` does."""
    return await _first(ctx, chain, lambda meant: _embedded(ctx, chain, meant, texts, dimensions, part))


async def _first(ctx: Context, chain: Chain, call: Callable[[Meant], Awaitable[T]]) -> T:
    failed: list[Fail | TryAgain] = []
    for meant in chain.models:
        try:
            return await call(meant)
        except Uncertain as error:
            failed.append(TryAgain(error.code, error.message, None, error.details))
        except (Fail, TryAgain) as error:
            if error.code.startswith(_OWN_FAULT):
                raise
            failed.append(error)
        if len(chain.models) > 1:
            ctx.log(f"{meant.name} did not answer: {failed[-1].message}", "warning", code=failed[-1].code)
    raise next((each for each in failed if isinstance(each, TryAgain)), failed[0])


@dataclass(frozen=True, slots=True)
class _Asking:
    """What is asked, what a kept answer would be one to and have to be, and the step as which it is said, if it is."""

    ask: Ask
    question: Ask
    good: Callable[[Reply], bool]
    said: str | None


async def _asked(ctx: Context, chain: Chain, meant: Meant, asking: _Asking) -> Reply:
    """Ask one model, unless its answer is kept."""
    ask, said = asking.ask, asking.said
    post = await _post(ctx, chain, meant)

    def written(ask: Ask) -> Letter:
        return meant.provider.ask(replace(ask, model=meant.model), own=post.own)

    letter = written(ask)
    most = Usage(estimated(letter, ask.messages), ask.max_tokens)
    in_parts = None if said is None else meant.provider.in_parts(letter)
    place = None if chain.kept is None else chain.kept.at(meant, post, written(asking.question))
    kept = None if place is None else _reply_of(await place.recall())
    if kept is not None and asking.good(kept):
        ctx.spared(post.payee, meant.name)
        if said is not None and in_parts is not None:
            with ctx.speech(said, meant.name) as say:
                say(kept.text)
        return replace(kept, usage=Usage(), cached=True)

    async def call() -> tuple[Reply, Usage]:
        if said is None or in_parts is None:
            reply = await post.send(letter, meant.provider.reply)
            return reply, reply.usage
        with ctx.speech(said, meant.name) as say:
            reply = await post.send_in_parts(in_parts, meant.provider.reply, say)
        # A server that does not say what it used when it answers in parts is not taken to have used nothing.
        return reply, reply.usage if reply.usage.tokens else most

    reply = await ctx.pay(post.payee, meant.name, most, call)
    if reply.finish == "refused":
        raise Fail("ai.refused", f"{meant.model} will not answer: {reply.text[:500]}")
    if place is not None and asking.good(reply):
        await place.keep(reply_to_json(reply))
    return reply


async def _embedded(
    ctx: Context, chain: Chain, meant: Meant, texts: Sequence[str], dimensions: int | None, part: str
) -> Vectors:
    provider = meant.provider
    letter = provider.embed(meant.model, texts, dimensions)
    if letter is None:
        message = f"{provider.name} turns no texts into vectors. Use a model of another provider."
        raise Fail("ai.unsupported", message)
    post = await _post(ctx, chain, meant)

    def read(body: Mapping[str, Any]) -> tuple[Vectors, Usage]:
        found, usage = provider.vectors(body)
        if len(found) != len(texts):
            raise Unreadable(f"it has {len(found)} vectors for {len(texts)} texts")
        return found, usage

    place = None if chain.kept is None else chain.kept.at(meant, post, letter, part)
    kept = None if place is None else await place.recall()
    if isinstance(kept, list) and len(kept) == len(texts):
        ctx.spared(post.payee, meant.name)
        return kept
    most = Usage(estimated(letter, ()))
    found = await ctx.pay(post.payee, meant.name, most, lambda: post.send(letter, read))
    if place is not None:
        await place.keep(found)
    return found


async def _post(ctx: Context, chain: Chain, meant: Meant) -> Post:
    link = await ctx.connect(meant.connection, meant.provider.name)
    return Post(link, meant.provider, chain.timeout, ctx.now())


def estimated(letter: Letter, messages: Sequence[Message]) -> int:
    """Return about how many tokens a request has at most."""
    images = sum(len(each.images) for each in messages)
    data = sum(len(image.data or "") for each in messages for image in each.images)
    text = len(str(letter.body).encode("utf-8", "surrogatepass")) - data
    return text // _BYTES_PER_TOKEN + images * _PER_IMAGE


def reply_to_json(reply: Reply) -> dict[str, Json]:
    """Return an answer as it is journaled."""
    return {
        "text": reply.text,
        "finish": reply.finish,
        "model": reply.model,
        "calls": [each.to_json() for each in reply.calls],
        "usage": reply.usage.to_json(),
        **({"cached": True} if reply.cached else {}),
    }


def reply_from_json(body: Json) -> Reply:
    """Read the journaled form."""
    if (reply := _reply_of(body)) is not None:
        return reply
    message = "The journal holds something else than an answer of a model."
    raise Fail("node.output_invalid", message)


def _reply_of(body: Json) -> Reply | None:
    """Read the journaled form; None for what is none."""
    match body:
        case {
            "text": str(text),
            "finish": finish,
            "model": str(model),
            "calls": list(calls),
            "usage": dict(usage),
            **more,
        }:
            tokens = [usage[name] for name in ("input_tokens", "output_tokens", "cached_tokens")]
            return Reply(
                text,
                finish,  # type: ignore[arg-type]  # it was written by `reply_to_json`
                model,
                Usage(*tokens),  # type: ignore[arg-type]
                tuple(ToolCall(**each) for each in calls),  # type: ignore[arg-type]
                more.get("cached") is True,
            )
    return None
