"""Put texts into a collection, where they are found by what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Self, cast

from pydantic import BaseModel, BeforeValidator, Field, JsonValue, model_validator

from celeriac import Context, Effect, Fail, Json, node
from celeriac.contract import TRUSTED
from celeriac.passages import Passage, Passages, Source
from nodes.ai.models.asking import RETRY, TIMEOUT, Asking, Text
from nodes.ai.models.chain import Chain, embedded
from nodes.ai.models.parts import parts

BATCH = 64
"""Passages in one step, when none of its documents has more."""

DOCUMENTS = 10_000
"""Documents of one run."""


def _as_id(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[str, BeforeValidator(_as_id), Field(min_length=1, max_length=500)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]


class Document(BaseModel, extra="forbid"):
    """One document."""

    id: Id = Field(description="What it is called; it takes the place of one that is called the same.")
    text: Text = Field(description="What it says.")
    data: dict[str, JsonValue] = Field({}, description="What else is worth knowing; searches may ask for it.")


class Config(Asking):
    """The collection, and the documents."""

    collection: Name = Field(description="Where they go.", json_schema_extra={TRUSTED: True})
    documents: list[Document] = Field([], description="What is put in.", max_length=DOCUMENTS)
    remove: list[Id] = Field([], description="The ids of documents that are taken out.", max_length=DOCUMENTS)
    size: int = Field(
        1000, description="Characters of a passage, into which documents are cut.", ge=100, le=20_000
    )
    overlap: int = Field(100, description="Characters that a passage shares with the one before it.", ge=0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.overlap > self.size // 4:
            message = "`overlap` is at most a quarter of `size`"
            raise ValueError(message)
        names = [each.id for each in self.documents]
        if len(set(names)) < len(names):
            message = "two documents have the same id"
            raise ValueError(message)
        return self


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["documents", "passages", "embedded", "removed"],
    "properties": {
        "documents": {"type": "integer", "description": "Documents that were put in."},
        "passages": {"type": "integer", "description": "The passages that they were cut into."},
        "embedded": {"type": "integer", "description": "Those of them that were not there as they are."},
        "removed": {"type": "integer", "description": "Passages that were taken out."},
    },
    "additionalProperties": False,
}


@node("ai_index", effect=Effect.KEYED, retry=RETRY, timeout=TIMEOUT, output=OUTPUT)
async def ai_index(config: Config, ctx: Context) -> Json:
    """Put documents into a collection, each in the place of what there was under its id."""
    collection = ctx.collection(config.collection)
    chain, source = await config.chain(ctx), Source(config.model, config.connection)
    passages = fresh = 0
    for number, batch in enumerate(_batches(config)):

        async def keep(_: str, batch: Sequence[Passage] = batch) -> Json:
            return await _keep(ctx, collection, chain, source, batch)

        passages += len(batch)
        fresh += cast("int", await ctx.step(f"batch {number}", Effect.KEYED, keep))
    empty = [each.id for each in config.documents if not each.text.strip()]

    async def remove(_: str) -> Json:
        return await collection.remove([*config.remove, *empty])

    removed = await ctx.step("remove", Effect.KEYED, remove) if config.remove or empty else 0
    return {
        "documents": len(config.documents),
        "passages": passages,
        "embedded": fresh,
        "removed": removed,
    }


def _batches(config: Config) -> Iterator[list[Passage]]:
    """Yield whole documents, cut into passages, as many as go into one step."""
    batch: list[Passage] = []
    for document in config.documents:
        cut = [
            Passage(document.id, number, text, document.data)
            for number, text in enumerate(parts(document.text, config.size, config.overlap))
        ]
        if batch and len(batch) + len(cut) > BATCH:
            yield batch
            batch = []
        batch += cut
    if batch:
        yield batch


async def _keep(
    ctx: Context, collection: Passages, chain: Chain, source: Source, batch: Sequence[Passage]
) -> int:
    """Put a batch in; vectors are only made of what is not there as it is. Returns how many those were."""
    known = await collection.source()
    if known is not None and known != source:
        message = "The vectors of the collection are made by another model, and lie elsewhere than those of this one."
        raise Fail("collection.other_model", message, {"model": known.model})
    same = await collection.unchanged(batch)
    fresh = [each for each in batch if (each.document, each.part) not in same]
    vectors: dict[tuple[str, int], list[float]] = {}
    for start in range(0, len(fresh), BATCH):
        some = fresh[start : start + BATCH]
        found = await embedded(ctx, chain, [each.text for each in some], None)
        vectors |= {
            (each.document, each.part): cast("list[float]", vector)
            for each, vector in zip(some, found, strict=True)
        }
    full = [replace(each, vector=vectors.get((each.document, each.part))) for each in batch]
    await collection.put(source, full)
    return len(fresh)
