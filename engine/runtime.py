"""What one process of the engine is made of: every process has these parts, a worker adds an executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine import identity
from engine.broker import App, Broker, make_app
from engine.clock import SystemClock
from engine.dispatch import Dispatcher, Room
from engine.ledger import Ledger, LedgerThread
from engine.poller import Poller, PollerThread
from engine.programs import Programs
from engine.reader import Reader
from engine.registry import Registry
from engine.settings import Settings
from engine.store.database import Database, open_database
from engine.store.schema import check
from engine.transitions import Rules


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts. `close` stops them in the order that lets each finish what the one before handed it."""

    settings: Settings
    clock: SystemClock
    registry: Registry
    programs: Programs
    database: Database
    ledger: LedgerThread
    reader: Reader
    app: App
    dispatcher: Dispatcher
    gauge: Broker
    poller: PollerThread | None
    owner: str

    def close(self) -> None:
        """Stop everything."""
        if self.poller is not None:
            self.poller.close()
        self.gauge.close()
        self.ledger.close()
        self.dispatcher.close()
        self.reader.close()


def assemble(
    settings: Settings,
    *,
    poll: bool = True,
    queues: Sequence[str] | None = None,
    app: App | None = None,
    registry: Registry | None = None,
) -> Runtime:
    """Start the parts. Raises `SchemaTooNew` or `SchemaMissing` before anything is written.

    `queues` limits the poller to those a worker serves; without it all queues are looked after.
    """
    registry = registry or Registry.load(settings.node_modules, settings.declarations)
    database = open_database(settings)
    first = database.connect()
    try:
        check(first)
        clock = SystemClock(first.now())
    finally:
        first.close()
    app = app or make_app(settings)
    programs = Programs(registry)
    room = Room(settings.window)
    owner = identity.owner()
    rules = Rules(programs.plan, settings.timing.grace, room, settings.limits.ending_ms)
    ledger = LedgerThread(Ledger(database, rules, owner, clock))
    reader = Reader(database)
    dispatcher = Dispatcher(Broker(app))
    gauge, poller = Broker(app), None
    if poll:
        round_ = Poller(settings, clock, ledger, reader.ask, gauge, room, dispatcher.send_all, queues)
        poller = PollerThread(round_, settings.timing)
    return Runtime(
        settings, clock, registry, programs, database, ledger, reader, app, dispatcher, gauge, poller, owner
    )
