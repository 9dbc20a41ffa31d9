"""A worker dies in the middle of a call that tells how far it is; whoever takes over goes on from there."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.builders import document, is_ready, node, wait_until
from tests.faults.conftest import BOUND, Site
from tests.faults.test_failpoints import IDLE

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("kind", ["pages", "pages_apart"])
def test_the_next_worker_goes_on_behind_the_last_heartbeat(site: Site, kind: str) -> None:
    name = f"only-{kind}"
    queue = f"{name}-{site.dialect}"
    victim = site.worker(name, queue, **IDLE)
    try:
        wait_until(lambda: is_ready(victim), 60, "a victim")
        active = site.client.push(document([node("turn", kind, {"pages": 6, "stuck": 4})], name=name))
        execution = site.accept_silently(active)
        site.send([(execution, 0, "")], queue)
        site.send([(execution, 1, "")], queue)

        def told() -> bool:
            look = "SELECT output FROM journal WHERE execution_id = ? AND step = '@heartbeat'"
            site.send([(execution, 1, "")], queue)
            return site.client.query(look, execution) == [("3",)]

        wait_until(told, 20, "the fourth page")
        victim.kill()
        assert site.client.finished(execution, BOUND + 5) == "succeeded"
    finally:
        with suppress(ProcessLookupError):
            victim.kill()
    (output,) = site.client.query("SELECT output FROM execution WHERE id = ?", execution)
    assert output == ('{"turn":[4,5]}',)
