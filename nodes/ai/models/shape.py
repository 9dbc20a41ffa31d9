"""Data out of a model's text: found, held against a JSON Schema, and asked for again with every misfit; never made up.

Only the wrapping is taken off: fences, and words around one JSON value. What the value lacks is not filled in, and what
does not fit is not bent: after the last round the node fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac import Context, Fail, Json
from nodes.ai.models.chain import Chain, answer
from nodes.ai.models.provider import Ask, Message, Reply

if TYPE_CHECKING:
    import jsonschema_rs

_SHOWN = 20
_OPENINGS = 50
_EXCERPT = 2000


async def extracted(
    ctx: Context, chain: Chain, ask: Ask, rounds: int, judge: Callable[[Json], list[str]] | None = None
) -> Json:
    """Return what a model says in the shape of the schema of `ask`, with at most so many questions.

    `judge` tells what else is wrong with a value that has the shape. Raises `Fail`: `ai.bad_schema`, or `ai.no_fit` with what was
    wrong in the end.
    """
    check = misfits_of(ask.schema or {})
    question = ask
    found: list[str] = []
    text = ""

    def read(reply: Reply) -> tuple[Json, list[str]]:
        if reply.finish == "length":
            return None, [f"the answer is cut off at {ask.max_tokens} tokens; allow more with max_tokens"]
        value, misfits = _read(reply.text, check)
        return value, misfits or (judge(value) if judge is not None else [])

    def fits(reply: Reply) -> bool:
        return not read(reply)[1]

    for number in range(1, rounds + 1):
        reply = await answer(ctx, chain, ask, f"answer {number}", question=question, good=fits)
        text = reply.text
        value, found = read(reply)
        if not found:
            return value
        ctx.log("The answer does not fit.", "warning", round=number, misfits=list(found))
        complaint = "\n".join(f"- {each}" for each in found)
        again = f"That is not what was asked for:\n{complaint}\nAnswer again, with nothing but the JSON."
        ask = replace(
            ask, messages=(*ask.messages, Message("assistant", text or "{}"), Message("user", again))
        )
    raise Fail(
        "ai.no_fit",
        f"After {rounds} answers the model has given nothing that fits the schema: {found[0]}.",
        {"misfits": list(found), "answer": text[:_EXCERPT]},
    )


def misfits_of(schema: Mapping[str, Json]) -> Callable[[Json], list[str]]:
    """Return what tells, of a value, all that does not fit. Raises `Fail` (`ai.bad_schema`) for what is no schema.

    References lead nowhere outside the schema, and patterns take linear time: it may come from anywhere.
    """
    import jsonschema_rs

    try:
        validator: jsonschema_rs.Draft202012Validator = jsonschema_rs.Draft202012Validator(
            dict(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (jsonschema_rs.ValidationError, ValueError) as error:
        said = error.message if isinstance(error, jsonschema_rs.ValidationError) else str(error)
        raise Fail("ai.bad_schema", f"The schema of the answer is no JSON Schema: {said}.") from error

    def misfits(value: Json) -> list[str]:
        errors = list(validator.iter_errors(value))[:_SHOWN]
        return [
            f"at {'/'.join(map(str, each.instance_path)) or 'the top'}: {each.message}" for each in errors
        ]

    return misfits


def _read(text: str, check: Callable[[Json], list[str]]) -> tuple[Json, list[str]]:
    """Return the first JSON value in a text that fits, else the misfits of the first."""
    first: list[str] | None = None
    for value in _values(text):
        found = check(value)
        if not found:
            return value, []
        first = found if first is None else first
    return None, first or ["it holds no JSON"]


def _values(text: str) -> Iterator[Json]:
    """Yield the whole text as JSON, else each object or list that stands in it. Nonsense is looked at a few times only."""
    try:
        yield json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        return
    except ValueError:
        decoder = json.JSONDecoder(parse_constant=_no_constant)
        place = 0
        for _ in range(_OPENINGS):
            place = _next_opening(text, place)
            if place < 0:
                return
            try:
                value, place = decoder.raw_decode(text, place)
            except RecursionError:
                return
            except ValueError:
                place += 1
            else:
                yield value


def _next_opening(text: str, place: int) -> int:
    found = [at for each in "{[" if (at := text.find(each, place)) >= 0]
    return min(found, default=-1)


def _no_constant(name: str) -> Json:
    message = f"{name} is no JSON"
    raise ValueError(message)
