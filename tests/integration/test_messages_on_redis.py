"""What the engine writes to Redis itself is what kombu's transport would have written: Celery's consumer reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.broker import Broker, _produce, _push, make_app
from engine.canvas import segment
from engine.settings import Settings
from tests.servers import Valkey

QUEUE = "q_written"
ONE_EACH = ("correlation_id", "delivery_tag")


def without_ids(text: bytes) -> Any:
    """A message with what no two of them share taken out, after a look at it."""
    message = json.loads(text)
    properties, headers = message["properties"], message["headers"]
    assert properties["correlation_id"] == headers.pop("id") == headers.pop("root_id")
    assert all(len(properties.pop(each)) == 36 for each in ONE_EACH)
    return message


def test_a_message_is_the_same_in_either_way(valkey: Valkey, tmp_path: Path) -> None:
    broker = Broker(make_app(Settings("sqlite:///x", valkey.url, tmp_path)))
    messages = [
        segment.of([("exec_1", 2, "3.1"), ("exec_2", 0, "")], QUEUE),
        segment.of([("exec_3", 0, "")], QUEUE),
    ]
    with broker._answering() as channel:
        _produce(channel, messages)
        produced = [channel.client.rpop(QUEUE) for _ in messages]
        _push(channel.client, messages)
        pushed = [channel.client.rpop(QUEUE) for _ in messages]
        assert channel.client.rpop(QUEUE) is None
    broker.close()
    assert list(map(without_ids, pushed)) == list(map(without_ids, produced))


def test_every_message_has_an_id_of_its_own(valkey: Valkey, tmp_path: Path) -> None:
    broker = Broker(make_app(Settings("sqlite:///x", valkey.url, tmp_path)))
    broker.publish(segment.of([("exec_1", each, "")], "q_ids") for each in range(3))
    with broker._answering() as channel:
        written = [json.loads(each) for each in channel.client.lrange("q_ids", 0, -1)]
        channel.client.delete("q_ids")
    broker.close()
    assert len({each["headers"]["id"] for each in written}) == 3
    assert len({each["properties"]["delivery_tag"] for each in written}) == 3
