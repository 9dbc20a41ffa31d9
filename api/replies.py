"""Words from workers that an execution has ended: a queue of this process's own.

Only a hint, and the quickest one: who waits for an execution reads its row when the word comes, and looks now and then
when none does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from api.hearing import Hearing
from engine.broker import App


class Replies:
    """Hands ids of ended executions to `tell`, in the event loop it was made in. `name` is what executions reply to."""

    def __init__(self, app: App, tell: Callable[[str], None]) -> None:
        self.name = name = f"celeriac.reply.{secrets.token_hex(8)}"
        self._hearing = Hearing(app, lambda broker, heard, ended: broker.hear(name, heard, ended), tell)

    def close(self) -> None:
        """Stop, and give the queue up."""
        self._hearing.close()
