"""What a node says before it is whole: told in pieces to whoever follows its execution, and kept nowhere.

A piece travels through the broker, sealed like a connection, since nothing that a model says is to be read there; the ids it
belongs to are its address. It may be lost, and nothing waits for it: what counts is the output, in the journal.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from celeriac import Json
from engine.clock import Clock
from engine.outside.scrub import forms_of, safe_length, without
from engine.outside.sealing import Place, SealBroken, SealedWithOtherKey, SealingKeys, open_sealed, seal
from engine.settings import Limits
from engine.snapshots import Facts

KIND = "node.saying"
"""The type of a piece. Events of what has happened are named in the past; this is none of them."""

State = Literal["going", "whole", "broken"]
"""More is to come; that was all; or forget what was said."""

_LONGEST = 1_000_000
"""Characters of a piece on its way. What is longer is none of ours."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece, and whose it is."""

    project: str
    workflow: str
    execution: str
    event: dict[str, Json]

    @property
    def told(self) -> dict[str, Json]:
        """The piece as it is told, in the form of an event without a number."""
        return {"execution_id": self.execution, "workflow_id": self.workflow, **self.event}


@dataclass(frozen=True, slots=True)
class SealedPiece:
    """The same on its way: everybody sees whose it is, and who has the keys what is in it."""

    project: str
    workflow: str
    execution: str
    sealed: bytes

    def opened(self, keys: SealingKeys) -> Piece | None:
        """Return the piece; None for what was not sealed for this place, by us."""
        try:
            event = json.loads(open_sealed(self.sealed, _place(self), keys))
        except (SealBroken, SealedWithOtherKey):
            return None
        return Piece(self.project, self.workflow, self.execution, event)


def written(piece: Piece, keys: SealingKeys, random_bytes: Callable[[int], bytes]) -> str:
    """Return a piece as it travels."""
    sealed = seal(json.dumps(piece.event).encode(), _place(piece), keys, random_bytes)
    return f"{piece.project} {piece.workflow} {piece.execution} {base64.b64encode(sealed).decode()}"


def read(text: str) -> SealedPiece | None:
    """Read what `written` has written; None for what is nothing like it."""
    match text.split(" ") if len(text) <= _LONGEST else []:
        case [project, workflow, execution, sealed]:
            try:
                return SealedPiece(project, workflow, execution, base64.b64decode(sealed, validate=True))
            except ValueError:
                return None
    return None


def _place(piece: Piece | SealedPiece) -> Place:
    return Place(piece.project, f"{piece.workflow}/{piece.execution}", "said")


Tell = Callable[[str, int, State], None]
"""Tells a text, how many characters of the speech were before it, and where that stands."""


class Speech:
    """One text that is on its way. For one event loop.

    What comes within `limits.piece_ms` is one piece, and so is what has become `limits.piece_characters` before. No piece holds
    a secret, nor the beginning of one: what may be one waits for what follows. After `limits.said_characters` it is quiet.
    """

    def __init__(self, tell: Tell, secrets: Callable[[], Collection[str]], limits: Limits) -> None:
        self._tell = tell
        self._secrets = secrets
        self._limits = limits
        self._waiting = ""
        self._offset = 0
        self._timer: asyncio.TimerHandle | None = None

    def say(self, text: str) -> None:
        """Say more."""
        if self._offset >= self._limits.said_characters:
            return
        self._waiting += text
        if len(self._waiting) >= self._limits.piece_characters:
            self._told()
        elif self._timer is None and text:
            self._timer = asyncio.get_running_loop().call_later(self._limits.piece_ms / 1000, self._told)

    def end(self, *, whole: bool) -> None:
        """Say what is left, and that it was all; or that it broke off."""
        self._stop()
        forms = forms_of(self._secrets())
        left = without(self._waiting, forms) if whole else ""
        self._waiting = ""
        self._piece(left, "whole" if whole else "broken")

    def _told(self) -> None:
        """Tell what can be told of what waits."""
        self._stop()
        forms = forms_of(self._secrets())
        length = safe_length(self._waiting, forms)
        ready, self._waiting = without(self._waiting[:length], forms), self._waiting[length:]
        if ready:
            self._piece(ready, "going")

    def _piece(self, text: str, state: State) -> None:
        size = self._limits.piece_characters
        *parts, last = [text[at : at + size] for at in range(0, len(text), size)] or [""]
        for part in parts:
            self._tell(part, self._offset, "going")
            self._offset += len(part)
        self._tell(last, self._offset, state)
        self._offset += len(last)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


Speak = Callable[[str, str, Callable[[], Collection[str]]], Speech]
"""Begins a speech under the name of a step, of a model, without these secrets."""


@dataclass(frozen=True, slots=True)
class Speaking:
    """What a process speaks through: keys, and `send`, which takes a piece as it travels and waits for nothing."""

    keys: SealingKeys
    send: Callable[[str], None]
    clock: Clock
    limits: Limits

    def of(self, facts: Facts, node: str, item: str, attempt: int) -> Speak:
        """Return what begins the speeches of one call of a node."""

        def begin(step: str, model: str, secrets: Callable[[], Collection[str]]) -> Speech:
            about: dict[str, Json] = {"node": node, **({"item": item} if item else {}), "attempt": attempt}
            about |= {"step": step, "model": model, "speech": self.clock.mint("say")}

            def tell(text: str, offset: int, state: State) -> None:
                event: dict[str, Json] = {"type": KIND, "at": self.clock.now(), **about}
                event |= {"offset": offset, "text": text, "state": state}
                piece = Piece(facts.project, facts.workflow, facts.execution, event)
                self.send(written(piece, self.keys, self.clock.entropy))

            return Speech(tell, secrets, self.limits)

        return begin
