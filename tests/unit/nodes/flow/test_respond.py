from __future__ import annotations

from typing import Any

import pytest

from celeriac.testing import run_node
from nodes.flow.respond import respond


async def test_the_answer_is_the_output() -> None:
    outcome = await run_node(
        respond, {"status": 201, "headers": {"Location": "/orders/7"}, "body": {"id": 7}}
    )
    assert (outcome.kind, outcome.ports) == ("respond", ("out",))
    assert outcome.value == {"status": 201, "headers": {"Location": "/orders/7"}, "body": {"id": 7}}


async def test_nothing_said_is_a_plain_yes() -> None:
    assert (await run_node(respond, {})).value == {"status": 200, "headers": {}, "body": None}


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"status": 200}, None),
        ({"status": 199}, "node.config_invalid"),
        ({"status": 599}, None),
        ({"status": 600}, "node.config_invalid"),
        ({"headers": {"Set-Cookie": "a=b"}}, "node.config_invalid"),
        ({"headers": {"X-Accel-Redirect": "/etc/passwd"}}, "node.config_invalid"),
        ({"headers": {"Location": "/a\r\nSet-Cookie: a=b"}}, "node.config_invalid"),
        ({"headers": {"Location": "x" * 1000}}, None),
        ({"headers": {"Location": "x" * 1001}}, "node.config_invalid"),
    ],
)
async def test_an_answer_says_nothing_that_is_the_servers_to_say(config: Any, code: str | None) -> None:
    assert (await run_node(respond, config)).code == code
