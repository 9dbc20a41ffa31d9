from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac import OnDecision, Wait
from celeriac.testing import run_node
from nodes.flow.approval import approval

NOW = datetime(2031, 5, 4, 9, tzinfo=UTC)
MS = 1_935_651_600_000
HOUR = 3_600_000


async def asks(**config: Any) -> Wait:
    outcome = await run_node(approval, {"title": "Pay?", **config}, now=NOW)
    assert outcome.wait is not None, outcome.error
    return outcome.wait


def chain(wait: Wait) -> list[Wait]:
    return [wait] if wait.then is None else [wait, *chain(wait.then)]


async def test_without_a_time_it_waits_for_ever() -> None:
    assert await asks(show=1) == Wait(None, None, (OnDecision("Pay?", show=1),))


@pytest.mark.parametrize(
    ("said", "port"),
    [(None, "rejected"), ("reject", "rejected"), ("approve", "approved"), ("branch", "timeout")],
)
async def test_the_time_ends_it_as_its_author_says(said: str | None, port: str) -> None:
    wait = await asks(timeout="1h", **({"on_timeout": said} if said else {}))
    assert (wait.until, wait.port) == (MS + HOUR, port)
    assert wait.value == {
        "name": port,
        "payload": {"decision": port, "by": "time", "votes": []},
        "at": "2031-05-04T10:00:00.000Z",
    }


async def test_reminders_are_waits_of_their_own() -> None:
    waits = chain(await asks(reminders=["10m", "20m"], timeout="1h"))
    assert [(each.until, each.signals[0].reminded) for each in waits] == [  # type: ignore[union-attr]
        (MS + HOUR // 6, 0),
        (MS + HOUR // 3, 1),
        (MS + HOUR, 2),
    ]
    assert [each.until for each in chain(await asks(reminders=["10m"]))] == [MS + HOUR // 6, None]


async def test_after_the_time_others_have_as_much() -> None:
    first, second = chain(
        await asks(
            timeout="1h", on_timeout="escalate", escalate_to={"roles": ["boss"]}, approvers={"users": ["ann"]}
        )
    )
    assert first.signals == (OnDecision("Pay?", users=("ann",)),)
    assert second.signals == (OnDecision("Pay?", roles=("boss",), escalated=True),)
    assert (first.until, second.until, second.port) == (MS + HOUR, MS + 2 * HOUR, "rejected")


@pytest.mark.parametrize(
    "config",
    [
        {"title": ""},
        {"quorum": 0},
        {"quorum": 51},
        {"rule": "dice"},
        {"on_timeout": "approve"},
        {"on_timeout": "escalate", "timeout": 1},
        {"escalate_to": {"users": ["a"]}, "timeout": 1},
        {"reminders": ["2m", "1m"]},
        {"reminders": ["1m", "60s"]},
        {"reminders": ["2m"], "timeout": "2m"},
        {"approvers": {"people": []}},
        {"form": 3},
    ],
)
async def test_what_contradicts_itself_is_refused(config: dict[str, Any]) -> None:
    assert (await run_node(approval, {"title": "t", **config})).code == "node.config_invalid"


def test_the_port_timeout_is_there_when_it_is_meant() -> None:
    assert approval.ports_of({"on_timeout": "branch"}) == ("approved", "rejected", "timeout")
    assert approval.ports_of({"timeout": 1}) == ("approved", "rejected")
