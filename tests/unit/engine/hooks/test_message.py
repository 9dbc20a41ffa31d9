from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from engine.hooks import message

END: dict[str, Any] = {
    "type": "execution.succeeded",
    "at": 1_762_684_200_000,
    "seq": 7,
    "execution_id": "exec_123",
    "workflow_id": "wf_1",
}


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks."""
    headers = message.sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        '{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"


def test_beside_it_stands_a_signature_of_the_body_alone() -> None:
    secret = message.make_secret(lambda count: b"x" * count)
    headers = message.sign("msg_1", 1, "{}", [secret])
    expected = hmac.new(secret.encode(), b"{}", hashlib.sha256).hexdigest()
    assert headers["X-Webhook-Signature"] == f"sha256={expected}"


def test_while_a_secret_is_exchanged_both_sign_and_the_newer_comes_first() -> None:
    new, old = (message.make_secret(lambda count, each=each: each * count) for each in (b"n", b"o"))  # type: ignore[misc]
    both = message.sign("msg_1", 1, "{}", [new, old])["webhook-signature"].split(" ")
    assert both == [message.sign("msg_1", 1, "{}", [each])["webhook-signature"] for each in (new, old)]


def test_a_secret_has_32_random_bytes() -> None:
    secret = message.make_secret(lambda count: bytes(range(count)))
    assert base64.b64decode(secret.removeprefix("whsec_")) == bytes(range(32))


def test_an_end_is_told_in_the_standard_form_and_in_the_older_one() -> None:
    body = json.loads(message.compose(END, status="succeeded", result='{"sum": 3}', url="http://x/e"))
    assert body == {
        "type": "execution.succeeded",
        "timestamp": "2025-11-09T10:30:00.000Z",
        "event": "workflow.executed",
        "workflow_id": "wf_1",
        "execution_id": "exec_123",
        "status": "completed",
        "data": {
            "seq": 7,
            "execution_id": "exec_123",
            "workflow_id": "wf_1",
            "status": "succeeded",
            "url": "http://x/e",
            "result": {"sum": 3},
        },
    }


def test_other_events_are_told_as_they_are() -> None:
    event = {**END, "type": "node.failed", "node": "a"}
    body = json.loads(message.compose(event, status=None, result=None, url="http://x/e"))
    assert body == {
        "type": "node.failed",
        "timestamp": "2025-11-09T10:30:00.000Z",
        "data": {"seq": 7, "execution_id": "exec_123", "workflow_id": "wf_1", "node": "a"},
    }
