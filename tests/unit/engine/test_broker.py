"""What the engine asks of a broker, on Celery's in-memory one. Real brokers are asked in tests/integration."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from engine.broker import CANARY, DOWN, Broker, make_app, references_of
from engine.canvas import TASK, segment
from engine.settings import Settings


def application(url: str = "memory://") -> Any:
    return make_app(Settings("sqlite:///x", url, Path()))


@pytest.fixture
def app() -> Any:
    return application()


@pytest.fixture
def broker(app: Any) -> Iterator[Broker]:
    made = Broker(app)
    yield made
    made.close()


def taken(app: Any, queue: str) -> Any:
    with app.connection_for_read() as connection:
        return connection.default_channel.basic_get(queue, no_ack=True)


def test_the_application_is_configured_by_the_file_and_the_settings() -> None:
    made = application("memory://here")
    assert made.conf.broker_url == "memory://here"
    assert made.conf.worker_pool == "worker.pool:AsyncPool"
    assert made.conf.accept_content == ["json"]


def test_a_message_is_celerys_and_holds_references_only(app: Any, broker: Broker) -> None:
    broker.lengths(["q_message"])
    broker.publish([segment.of([("exec_1", 2, "3")], "q_message")])
    message = taken(app, "q_message")
    assert message.decode() == [[[["exec_1", 2, "3"]]], {}, {}]
    assert message.headers["task"] == TASK
    assert message.headers["id"] == message.properties["correlation_id"]
    assert (message.headers["argsrepr"], message.headers["ignore_result"]) == ("", True)
    assert message.properties["delivery_mode"] == 1


def test_every_message_has_an_id_of_its_own(app: Any, broker: Broker) -> None:
    broker.lengths(["q_ids"])
    broker.publish(segment.of([("exec_1", each, "")], "q_ids") for each in range(3))
    assert len({taken(app, "q_ids").headers["id"] for _ in range(3)}) == 3


def test_the_length_of_a_queue_is_the_number_of_its_messages(broker: Broker) -> None:
    assert broker.lengths(["q_one", "q_two"]) == {"q_one": 0, "q_two": 0}
    broker.publish([segment.of([], "q_one"), segment.of([], "q_one")])
    assert broker.lengths(["q_one", "q_two"]) == {"q_one": 2, "q_two": 0}


def test_a_broker_without_keys_cannot_tell_that_it_was_emptied(broker: Broker) -> None:
    assert broker.emptied() is False


def test_who_waits_for_executions_hears_of_those_that_ended(app: Any, broker: Broker) -> None:
    heard: list[str] = []
    ended, some = threading.Event(), threading.Event()

    def hear(ids: list[str]) -> None:
        heard.extend(ids)
        some.set()
        ended.set()

    listening = Broker(app)
    broker.lengths(["q_heard"])
    broker.tell([("q_heard", "exec_1"), ("q_other", "exec_2"), ("q_heard", "exec_3")])
    thread = threading.Thread(target=listening.hear, args=("q_heard", hear, ended))
    thread.start()
    assert some.wait(5)
    thread.join(5)
    listening.close()
    assert heard == ["exec_1", "exec_3"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff", "application/json"),
        (b'{"a": 1}', "application/json"),
        (b"x", "application/x-python-serialize"),
    ],
    ids=["no json", "no list", "pickle"],
)
def test_what_is_no_word_of_ours_is_not_heard(
    app: Any, broker: Broker, body: bytes, content_type: str
) -> None:
    queue = f"q_strange_{content_type}_{body!r}"
    broker.lengths([queue])
    with app.connection_for_write() as connection:
        producer = connection.Producer()
        producer.publish(
            body, content_type=content_type, content_encoding="utf-8", exchange="", routing_key=queue
        )
        producer.publish(["exec_1", 7], serializer="json", exchange="", routing_key=queue)
    ended = threading.Event()
    heard: list[str] = []

    def hear(ids: list[str]) -> None:
        heard.extend(ids)
        if ids:
            ended.set()

    broker.hear(queue, hear, ended)
    assert heard == ["exec_1"]


def test_who_listens_overhears_what_is_said_and_who_does_not_misses_it(app: Any, broker: Broker) -> None:
    heard: list[list[str]] = [[], []]
    ended = threading.Event()
    broker.say(["nobody hears this"])
    listeners = [Broker(app), Broker(app)]
    threads = [
        threading.Thread(target=each.overhear, args=(f"q_over_{at}", heard[at].extend, ended))
        for at, each in enumerate(listeners)
    ]
    for each in threads:
        each.start()
    while not all(heard):
        broker.say(["once"])
        time.sleep(0.01)
    broker.say(["upon", "a time"])
    while not all(each[-1] == "a time" for each in heard):
        time.sleep(0.01)
    ended.set()
    for each in threads:
        each.join(5)
    for listener in listeners:
        listener.close()
    for texts in heard:
        assert set(texts) == {"once", "upon", "a time"}
        assert texts[-2:] == ["upon", "a time"]


class Client:
    """The part of a Redis client that is asked. A pipeline is the client itself, which does everything at once."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.lists: dict[str, list[bytes]] = {}
        self.expiring: dict[str, int] = {}
        self.answers: list[Any] = []

    def set(self, name: str, value: str, *, nx: bool) -> bool | None:
        assert nx
        if name in self.keys:
            return None
        self.keys[name] = value
        return True

    def expire(self, name: str, seconds: int) -> None:
        self.expiring[name] = seconds

    def rpush(self, name: str, *values: str) -> None:
        self.lists.setdefault(name, []).extend(each.encode() for each in values)

    def blpop(self, names: list[str], timeout: float) -> tuple[bytes, bytes] | None:
        assert timeout <= 1
        (name,) = names
        return (name.encode(), self.lists[name].pop(0)) if self.lists.get(name) else None

    def delete(self, name: str) -> None:
        del self.lists[name]

    def pipeline(self, *, transaction: bool) -> Client:
        assert not transaction
        self.answers = []
        return self

    def llen(self, name: str) -> None:
        self.answers.append(len(self.lists.get(name, ())))

    def execute(self) -> list[Any]:
        return self.answers


@pytest.fixture
def client(broker: Broker) -> Client:
    """Redis behind the broker's channel."""
    broker.lengths(["q_mine"])
    made = Client()
    broker._channel.client = made
    return made


def test_the_first_to_ask_after_a_flush_hears_of_it(broker: Broker, client: Client) -> None:
    assert [broker.emptied(), broker.emptied()] == [True, False]
    del client.keys[CANARY]
    assert [broker.emptied(), broker.emptied()] == [True, False]


def test_redis_is_asked_for_all_lengths_at_once(broker: Broker, client: Client) -> None:
    client.rpush("b", "x", "y")
    assert broker.lengths(["a", "b"]) == {"a": 0, "b": 2}


def test_what_nobody_fetches_goes_after_a_minute(broker: Broker, client: Client) -> None:
    broker.tell([("q_mine", "exec_1"), ("q_other", "exec_2"), ("q_mine", "exec_3")])
    assert client.lists == {"q_mine": [b"exec_1 exec_3"], "q_other": [b"exec_2"]}
    assert client.expiring == {"q_mine": 60, "q_other": 60}


def test_who_listens_on_redis_in_vain_listens_on(broker: Broker, client: Client) -> None:
    ended = threading.Event()
    tries = 0

    def fetch(names: list[str], timeout: float) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            ended.set()

    client.lists["q_mine"] = []
    client.blpop = fetch  # type: ignore[method-assign]  # a list that stays empty
    broker.hear("q_mine", lambda _: pytest.fail("heard something"), ended)
    assert tries == 2


def test_who_listens_on_redis_hears_all_at_once_and_leaves_no_list_behind(
    broker: Broker, client: Client
) -> None:
    heard: list[str] = []
    ended = threading.Event()

    def hear(ids: list[str]) -> None:
        heard.extend(ids)
        if len(heard) == 3:
            ended.set()

    client.lists["q_mine"] = [b"exec_1 exec_2", b"\xff"]
    broker.hear("q_mine", hear, ended)
    assert heard == ["exec_1", "exec_2", "\ufffd"]
    assert "q_mine" not in client.lists


@pytest.mark.parametrize(
    "ask",
    [
        lambda broker: broker.publish([segment.of([], "default")]),
        lambda broker: broker.tell([("q", "exec_1")]),
        lambda broker: broker.say(["once"]),
        lambda broker: broker.overhear("q", print, threading.Event()),
        lambda broker: broker.lengths(["default"]),
        lambda broker: broker.emptied(),
    ],
    ids=["publish", "tell", "say", "overhear", "lengths", "emptied"],
)
def test_a_broker_that_is_not_there_is_down_in_one_word(ask: Callable[[Broker], Any], tmp_path: Path) -> None:
    broker = Broker(application(f"redis+socket://{tmp_path}/none.sock"))
    with pytest.raises(DOWN):
        ask(broker)
    broker.close()


def test_an_error_of_the_transport_is_down_too(broker: Broker) -> None:
    broker.lengths(["q_mine"])
    error = broker._connection.channel_errors[0]

    class Broken:
        def queue_declare(self, *_: Any, **__: Any) -> None:
            raise error("no")

    broker._channel = Broken()
    with pytest.raises(OperationalError, match="did not answer"):
        broker.lengths(["q_mine"])


def test_a_forgotten_broker_is_asked_anew(broker: Broker) -> None:
    broker.close()
    broker.lengths(["q_again"])
    broker.close()
    assert broker.lengths(["q_again"]) == {"q_again": 0}
    broker.close()
    broker.close()


def test_references_are_read_from_a_message() -> None:
    assert references_of([[["exec_1", 0, ""], ["exec_2", 999_999, "3.1"]]]) == [
        ("exec_1", 0, ""),
        ("exec_2", 999_999, "3.1"),
    ]
    assert references_of([[]]) == []


@pytest.mark.parametrize(
    "args",
    [
        None,
        [],
        [[], []],
        ["exec_1"],
        [[["exec_1", 0, ""]] * 1001],
        [["exec_1"]],
        [[["exec_1", 0]]],
        [[["exec_1", 0, "", ""]]],
        [[["exec_1", "0", ""]]],
        [[["exec_1", -1, ""]]],
        [[["exec_1", 1_000_000, ""]]],
        [[["exec_1", 0, None]]],
        [[["x" * 65, 0, ""]]],
        [[{"a": 1}]],
    ],
)
def test_anything_else_in_a_message_is_refused(args: Any) -> None:
    with pytest.raises(ValueError, match="reference"):
        references_of(args)
