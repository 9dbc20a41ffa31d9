"""Pieces of what nodes say, as they come from workers: handed to those in this process who follow just then."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from api.hearing import Hearing
from api.hub import Hub
from engine import speech
from engine.broker import App
from engine.errors import Misconfigured

if TYPE_CHECKING:
    from engine.outside.sealing import SealingKeys

log = logging.getLogger(__name__)


class Pieces:
    """Hears pieces, and offers those to the followers of a hub that any of them wants. Nothing else is opened."""

    def __init__(self, app: App, hub: Hub, keys: Callable[[], SealingKeys]) -> None:
        self._hub = hub
        self._keys = keys
        self._deaf = False
        name = f"celeriac.said.{secrets.token_hex(8)}"
        self._hearing = Hearing(
            app, lambda broker, heard, ended: broker.overhear(name, heard, ended), self._heard
        )

    def close(self) -> None:
        """Stop."""
        self._hearing.close()

    def _heard(self, text: str) -> None:
        sealed = None if self._deaf or not self._hub.followed else speech.read(text)
        if sealed is None or not self._hub.wants(sealed):
            return
        try:
            keys = self._keys()
        except Misconfigured as error:
            self._deaf = True
            log.warning("What models say is not told while they write: %s", error.message)
            return
        if (piece := sealed.opened(keys)) is not None:
            self._hub.say(piece)
