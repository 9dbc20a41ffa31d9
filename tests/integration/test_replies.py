"""Words about ended executions, from one process to the queue of another, on both brokers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.broker import DOWN, Broker, make_app
from engine.settings import Settings
from tests.builders import wait_until
from tests.servers import Server, Valkey

QUEUE = "celeriac.reply.test"


@pytest.fixture(params=["valkey", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


class Listener:
    """A thread that hears, as an API process has one; it begins anew when the broker comes back."""

    def __init__(self, broker: Broker, *, over: str = "") -> None:
        self.heard: list[str] = []
        self._broker = broker
        self._over = over
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                if self._over:
                    self._broker.overhear(self._over, self.heard.extend, self._ended)
                else:
                    self._broker.hear(QUEUE, self.heard.extend, self._ended)
            except DOWN:
                self._broker.close()
                self._ended.wait(0.05)
        self._broker.close()


def settings(server: Server, folder: Path) -> Settings:
    return Settings("sqlite:///x", server.url, folder)


@contextmanager
def listening(server: Server, folder: Path) -> Iterator[tuple[Broker, Listener]]:
    """A process that tells and one that hears, who have found each other."""
    broker = Broker(make_app(settings(server, folder)))
    listener = Listener(Broker(make_app(settings(server, folder))))

    def found() -> bool:
        # RabbitMQ drops what is told before anybody listens: a word is a hint.
        tell(broker, "exec_first")
        return bool(listener.heard)

    try:
        wait_until(found, 20, "the first word")
        yield broker, listener
    finally:
        listener.close()
        broker.close()


def tell(broker: Broker, *executions: str) -> None:
    broker.tell([(QUEUE, each) for each in executions])


def test_what_is_told_to_a_queue_is_heard_there(server: Server, tmp_path: Path) -> None:
    with listening(server, tmp_path) as (broker, listener):
        tell(broker, "exec_a", "exec_b")
        wait_until(lambda: listener.heard[-2:] == ["exec_a", "exec_b"], 10, "both words")


def test_what_nobody_hears_is_gone_after_a_while(valkey: Valkey, tmp_path: Path) -> None:
    broker = Broker(make_app(settings(valkey, tmp_path)))
    broker.tell([("celeriac.reply.nobody", "exec_a")])
    with broker._answering() as channel:
        assert 0 < channel.client.ttl("celeriac.reply.nobody") <= 60
    broker.close()


def test_a_broker_that_was_away_is_heard_again(valkey: Valkey, tmp_path: Path) -> None:
    with listening(valkey, tmp_path) as (broker, listener):
        valkey.restart()

        def told() -> bool:
            try:
                tell(broker, "exec_again")
            except DOWN:
                broker.close()
            return "exec_again" in listener.heard

        wait_until(told, 20, "the word after the outage")


def test_what_is_said_is_overheard_by_all_who_listen(server: Server, tmp_path: Path) -> None:
    broker = Broker(make_app(settings(server, tmp_path)))
    listeners = [
        Listener(Broker(make_app(settings(server, tmp_path))), over=f"celeriac.said.{number}")
        for number in range(2)
    ]

    def all_heard_the_first() -> bool:
        broker.say(["first"])
        return all(each.heard for each in listeners)

    try:
        wait_until(all_heard_the_first, 20, "the first piece")
        broker.say(["second", "third \u00fc"])
        wait_until(
            lambda: all(each.heard[-2:] == ["second", "third \u00fc"] for each in listeners),
            10,
            "both pieces",
        )
    finally:
        for each in listeners:
            each.close()
        broker.close()
