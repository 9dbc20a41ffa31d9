"""What docs/events.md says to receivers: its check accepts what is sent, and nothing else."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, cast

from engine.clock import SystemClock
from engine.hooks import message
from engine.outside.sealing import SealingKeys
from engine.settings import Limits
from engine.snapshots import Facts
from engine.speech import Speaking, read

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


SHOWN: dict[str, Any] = {
    each["type"]: each
    for each in map(json.loads, re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
}


def is_genuine(*given: Any) -> bool:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/events.md", "exec"), names)  # noqa: S102  the page's own code is what is tested
    return bool(names["is_genuine"](*given))


def test_a_receiver_accepts_what_is_sent_and_nothing_else() -> None:
    secret, other = (message.make_secret(lambda count, each=each: each * count) for each in (b"a", b"b"))  # type: ignore[misc]
    now = int(time.time())
    headers = message.sign("msg_1", now, '{"a":1}', [other, secret])
    assert is_genuine(headers, b'{"a":1}', secret)
    assert not is_genuine(headers, b'{"a":2}', secret)
    assert not is_genuine(headers, b'{"a":1}', message.make_secret(lambda count: b"c" * count))
    assert not is_genuine(message.sign("msg_1", now - 301, "{}", [secret]), b"{}", secret)


def test_the_body_on_the_page_is_one_that_is_sent() -> None:
    shown = SHOWN["execution.succeeded"]
    event = {
        "type": shown["type"],
        "at": 1_935_484_200_000,
        "seq": shown["data"]["seq"],
        "workflow_id": shown["workflow_id"],
        "execution_id": shown["execution_id"],
    }
    sent = json.loads(message.compose(event, status="succeeded", result='{"sum": 3}', url="..."))
    assert sent.keys() == shown.keys()
    assert {name: each for name, each in sent.items() if name != "data"} == {
        name: each for name, each in shown.items() if name != "data"
    }
    assert shown["data"].items() <= sent["data"].items()


def test_the_piece_on_the_page_is_one_that_is_told() -> None:
    shown = SHOWN["node.saying"]
    sent: list[str] = []
    keys = SealingKeys.of(b"k" * 32)

    class Named:
        project, workflow, execution = "proj_a", shown["workflow_id"], shown["execution_id"]

    speaking = Speaking(keys, sent.append, SystemClock(shown["at"]), Limits(piece_characters=5))
    speech = speaking.of(cast("Facts", Named()), shown["node"], "", shown["attempt"])(
        shown["step"], shown["model"], frozenset
    )
    speech.say("Once ")
    speech._limits = Limits(piece_characters=len(shown["text"]))
    speech.say(shown["text"])
    sealed = read(sent[1])
    assert sealed is not None
    piece = sealed.opened(keys)
    assert piece is not None
    varying = ("at", "speech")
    assert {name: each for name, each in piece.told.items() if name not in varying} == {
        name: each for name, each in shown.items() if name not in varying
    }
    assert [*piece.told] == [*shown]
