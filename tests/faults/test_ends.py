"""A worker dies over what a cancelled execution does in its end: that is done once, and the execution is cancelled then."""

from __future__ import annotations

from contextlib import suppress

import pytest

from engine import operations as op
from tests.builders import document, edges, is_ready, node, wait_until
from tests.faults.conftest import BOUND, LEASE, Site

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("place", ["claim.after", "effect.before", "effect.after", "settle.before"])
def test_an_end_that_is_died_over_is_done_once(site: Site, place: str) -> None:
    queue = f"ends-{place}"
    bye = {**site.call("bye"), "queue": queue}
    body = {"nodes": [site.call("work"), node("long", "wait", {"for": "1h"})], "edges": edges("work->long")}
    scope = {"id": "s", "type": "scope", "body": body, "finally": {"nodes": [bye]}}
    name = site.client.start(site.client.push(document([scope], name=f"ends-{place}")), {"k": 1})
    wait_until(lambda: site.client.status(name) == "waiting", 20, "the wait")
    idle = {"CELERIAC_TIMING_POLL": "3600000", "CELERIAC_TIMING_CANARY": "3600000"}
    rule = {"CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": f"{place}=kill"}
    victim = site.worker(f"victim-{queue}-{site.dialect}", queue, **rule, **idle)
    heir = None
    try:
        wait_until(lambda: is_ready(victim), 60, "a victim")
        cancel = op.Cancel(name, site.client.runtime.clock.now())
        assert site.client.runtime.ledger.ask(cancel) in ("running", "waiting")
        wait_until(lambda: victim.code is not None, 30, "a death")
        heir = site.worker(f"heir-{queue}-{site.dialect}", queue)
        assert site.client.finished(name, 30 + BOUND + LEASE) == "cancelled"
        assert [site.applied(name, each) for each in ("work", "bye")] == [1, 1]
    finally:
        with suppress(ProcessLookupError):
            victim.kill()
        if heir is not None:
            heir.end()
