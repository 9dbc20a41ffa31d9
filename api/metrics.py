"""What Prometheus is told (text exposition format): requests as this process has counted them, and how the work stands.

Counting costs a request about a microsecond. What is asked of database and broker is kept for a moment, so that however often
somebody scrapes, they are asked once in `KEPT` seconds.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.broker import DOWN, Broker
from engine.errors import CeleriacError
from engine.gauges import Gauges, gauges

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from api.state import State

KEPT: Final = 5.0
"""Seconds for which an answer of database and broker is used."""
WITHIN: Final = 5.0
"""Seconds after which either counts as down."""
BOUNDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the histogram of durations, in seconds."""

OUTSIDE: Final = {"/webhooks/": "arrive", "/forms/": "form"}
"""What requests to addresses are counted as, whose paths are their authors'."""
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Look:
    """What database and broker have said; None for one that is down."""

    work: Gauges | None
    messages: Mapping[str, int] | None


class Metrics:
    """The counts of one process."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._looked = -KEPT
        self._look: Look | None = None
        self._looking = asyncio.Lock()

    def count(self, operation: str, status: int, seconds: float) -> None:
        """Count a request whose answer has begun."""
        self._requests[operation, status] += 1
        found = self._durations.get(operation)
        if found is None:
            found = self._durations[operation] = [0] * (len(BOUNDS) + 1)
        found[bisect_left(BOUNDS, seconds)] += 1
        self._seconds[operation] += seconds

    async def look(self, state: State) -> Look:
        """Return how the work stands, as of `KEPT` seconds ago at most."""
        now = asyncio.get_running_loop().time
        async with self._looking:
            if self._look is None or now() - self._looked >= KEPT:
                work, messages = await asyncio.gather(_work(state), asyncio.to_thread(_messages, state))
                self._look, self._looked = Look(work, messages), now()
            return self._look

    def text(self, look: Look, sockets: int) -> bytes:
        """Return everything in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(_Collected([*self._counted(), *_stands(look, sockets)]))
        return generate_latest(registry)

    def _counted(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily(
            "celeriac_http_requests", "Requests that were answered.", labels=["operation", "status"]
        )
        for (operation, status), number in sorted(self._requests.items()):
            requests.add_metric([operation, str(status)], number)
        yield requests
        durations = HistogramMetricFamily(
            "celeriac_http_request_seconds", "Seconds until an answer began.", labels=["operation"]
        )
        for operation, found in sorted(self._durations.items()):
            buckets, total = [], 0
            for bound, number in zip((*map(str, BOUNDS), "+Inf"), found, strict=True):
                total += number
                buckets.append((bound, total))
            durations.add_metric([operation], buckets, self._seconds[operation])
        yield durations


class _Collected:
    """Metrics that have been put together already."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = list(found)

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._found


def _stands(look: Look, sockets: int) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    def one(name: str, what: str, value: float) -> Any:
        return GaugeMetricFamily(name, what, value=value)

    yield one("celeriac_database_up", "Whether the database answers.", look.work is not None)
    yield one("celeriac_broker_up", "Whether the broker answers.", look.messages is not None)
    yield one("celeriac_sockets", "WebSocket connections of this process.", sockets)
    if look.messages is not None:
        messages = GaugeMetricFamily(
            "celeriac_queue_messages", "Messages that wait for a worker.", labels=["queue"]
        )
        for queue, number in sorted(look.messages.items()):
            messages.add_metric([queue], number)
        yield messages
    if look.work is not None:
        work = look.work
        segments = GaugeMetricFamily(
            "celeriac_segments", "Segments that are open.", labels=["queue", "status"]
        )
        for (queue, status), number in sorted(work.segments.items()):
            segments.add_metric([queue, status], number)
        yield segments
        yield one(
            "celeriac_segments_overdue", "Ready segments that nobody has taken up for 30 s.", work.overdue
        )
        yield one("celeriac_attention", "Segments that wait for a person's word.", work.attention)
        yield one(
            "celeriac_deliveries_due", "Deliveries to subscriptions that are to be sent now.", work.deliveries
        )
        yield one("celeriac_schedule_lag_seconds", "By how much schedules are late.", work.lag / 1000)


async def _work(state: State) -> Gauges | None:
    now = state.runtime.clock.now()
    try:
        async with asyncio.timeout(WITHIN):
            found: Gauges = await state.runtime.reader.read(lambda connection: gauges(connection, now))
    except (CeleriacError, TimeoutError):
        return None
    return found


def _messages(state: State) -> dict[str, int] | None:
    broker = Broker(state.runtime.app)
    try:
        return broker.lengths(state.settings.queues)
    except DOWN:
        return None
    finally:
        broker.close()
