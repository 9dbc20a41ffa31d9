"""The Celery application, and the few things that are asked of a broker: how long is a queue, were you emptied, tell them this.

A broker holds hints that may vanish. Nothing here may be needed for correctness.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any

from celery import Celery
from kombu import Consumer, Exchange, Producer, Queue
from kombu.exceptions import (  # type: ignore[attr-defined]  # old stubs
    BatchPublishError,
    KombuError,
    OperationalError,
)

from engine.canvas import TASK, segment
from engine.failpoints import crossing
from engine.settings import Settings

CANARY = "celeriac:canary"
SAID = "celeriac.said"
"""Where pieces of what nodes say are told, to every process that listens just then."""
_UNHEARD = 1_000
"""Pieces that wait for a process that is slow to listen, on RabbitMQ; with more the oldest are dropped."""
_FORGOTTEN_AFTER = 60
"""Seconds that a word waits for who was to hear it."""
_LISTENING = 0.2
"""Seconds after which whoever hears nothing looks whether it is to go on."""
DOWN: tuple[type[Exception], ...] = (OperationalError, ConnectionError, OSError)


App = Celery


def _silent(place: str) -> Exception:
    """What a broker comes to that is gone, for a failpoint."""
    return OperationalError(f"The broker did not answer at {place}")


def make_app(settings: Settings) -> App:
    """Return the application as celeryconfig.py configures it, for the broker of the settings."""
    app = Celery("celeriac", set_as_current=False)
    app.config_from_object("celeryconfig")
    app.conf.update(broker_url=settings.broker_url)
    app.set_default()
    return app


class Broker:
    """One thread's conversation with the broker. Not thread safe."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._channel: Any = None

    @crossing("broker.publish", _silent)
    def publish(self, messages: Iterable[segment]) -> None:
        """Send messages in one batch. Raises one of `DOWN` when some may not have been sent; nobody then knows which."""
        with self._answering() as channel:
            if hasattr(channel, "client"):
                _push(channel.client, messages)
            else:
                _produce(channel, messages)

    @crossing("broker.tell", _silent)
    def tell(self, ended: Iterable[tuple[str, str]]) -> None:
        """Send the ids of ended executions to the queues (first of each pair) that wait for them. Raises one of `DOWN`.

        Who waited may be gone: what nobody fetches goes with its queue, on Redis after a minute.
        """
        of_queue: dict[str, list[str]] = defaultdict(list)
        for queue, execution in ended:
            of_queue[queue].append(execution)
        with self._answering() as channel:
            if hasattr(channel, "client"):
                pipe = channel.client.pipeline(transaction=False)
                for queue, executions in of_queue.items():
                    pipe.rpush(queue, " ".join(executions))
                    pipe.expire(queue, _FORGOTTEN_AFTER)
                pipe.execute()
                return
            producer: Any = Producer(channel, auto_declare=False)
            for queue, executions in of_queue.items():
                producer.publish(
                    executions,
                    serializer="json",
                    exchange="",
                    routing_key=queue,
                    delivery_mode=1,
                    retry=False,
                )

    @crossing("broker.hear", _silent)
    def hear(self, queue: str, heard: Callable[[list[str]], None], ended: Event) -> None:
        """Hand over the ids that are told to a queue of one's own, until `ended` is set. Raises one of `DOWN`."""
        with self._answering() as channel:
            if hasattr(channel, "client"):
                # Ids need no envelope: this takes a third of the time that a message takes.
                while not ended.is_set():
                    if (told := channel.client.blpop([queue], timeout=_LISTENING)) is not None:
                        heard(told[1].decode(errors="replace").split())
                channel.client.delete(queue)
                return
            own = Queue(queue, exchange=Exchange(""), durable=False, auto_delete=True)
            self._listen(channel, own, heard, ended)

    @crossing("broker.say", _silent)
    def say(self, pieces: Sequence[str]) -> None:
        """Tell pieces of what nodes say to all who listen, if anyone does. Raises one of `DOWN`."""
        with self._answering() as channel:
            if hasattr(channel, "client"):
                pipe = channel.client.pipeline(transaction=False)
                for piece in pieces:
                    pipe.publish(SAID, piece)
                pipe.execute()
                return
            producer: Any = Producer(channel, _said())
            for piece in pieces:
                producer.publish([piece], serializer="json", delivery_mode=1, retry=False)

    @crossing("broker.overhear", _silent)
    def overhear(self, name: str, heard: Callable[[list[str]], None], ended: Event) -> None:
        """Hand over the pieces that are told, until `ended` is set. `name` is this process's own. Raises one of `DOWN`."""
        with self._answering() as channel:
            if hasattr(channel, "client"):
                with channel.client.pubsub(ignore_subscribe_messages=True) as listening:
                    listening.subscribe(SAID)
                    while not ended.is_set():
                        if (told := listening.get_message(timeout=_LISTENING)) is not None:
                            heard([told["data"].decode(errors="replace")])
                return
            own = Queue(
                name, exchange=_said(), durable=False, exclusive=True, auto_delete=True, max_length=_UNHEARD
            )
            self._listen(channel, own, heard, ended)

    @crossing("broker.lengths", _silent)
    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many messages wait in each queue."""
        with self._answering() as channel:
            if hasattr(channel, "client"):
                pipe = channel.client.pipeline(transaction=False)
                for queue in queues:
                    pipe.llen(queue)
                return dict(zip(queues, pipe.execute(), strict=True))
            return {
                queue: channel.queue_declare(queue, durable=True, auto_delete=False).message_count
                for queue in queues
            }

    @crossing("broker.emptied", _silent)
    def emptied(self) -> bool:
        """Whether the broker has lost what it held since this was last asked by anyone. Only the first to ask hears it."""
        with self._answering() as channel:
            return hasattr(channel, "client") and bool(channel.client.set(CANARY, "1", nx=True))

    def close(self) -> None:
        """Forget the connection; the next question opens a new one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect()  # closes the socket without a word to a broker that may be gone
            connection.release()

    def _listen(self, channel: Any, own: Queue, heard: Callable[[list[str]], None], ended: Event) -> None:
        with Consumer(
            channel, [own], on_message=lambda message: heard(_told(message)), no_ack=True, accept=["json"]
        ):
            while not ended.is_set():
                with suppress(TimeoutError):
                    self._connection.drain_events(timeout=_LISTENING)

    @contextmanager
    def _answering(self) -> Iterator[Any]:
        """Hand over an open channel, and bring the transport's own errors into one word.

        It connects at once or not at all: whoever asks looks again soon, and has other work meanwhile.
        """
        if self._connection is None:
            self._connection = self._app.connection_for_write()
        connection = self._connection
        try:
            if self._channel is None:
                connection.ensure_connection(max_retries=0)
                self._channel = connection.channel()
            yield self._channel
        except (BatchPublishError, *connection.connection_errors, *connection.channel_errors) as error:
            message = f"The broker did not answer: {error}"
            raise OperationalError(message) from error


def _said() -> Exchange:
    return Exchange(SAID, "fanout", durable=False)


def _told(message: Any) -> list[str]:
    """Read the texts of a message that anyone may have written."""
    try:
        body = message.decode()
    except (KombuError, ValueError):
        return []
    return [each for each in body if isinstance(each, str)] if isinstance(body, list) else []


def _produce(channel: Any, messages: Iterable[segment]) -> None:
    """Send messages in the way of any transport."""
    producer: Any = Producer(channel, auto_declare=False)
    with producer.batch(500):
        for each in messages:
            task_id = str(uuid.uuid4())
            producer.publish(
                [list(each.args), {}, {}],
                serializer="json",
                exchange="",
                routing_key=each.options["queue"],
                correlation_id=task_id,
                delivery_mode=1,
                headers=_headers(task_id),
                retry=False,
            )


def _push(client: Any, messages: Iterable[segment]) -> None:
    """Put messages on their lists as kombu's Redis transport does, which takes six times as long to write one.

    Celery's own consumer reads them, so tests/integration holds the two forms to be the same.
    """
    of_queue: dict[str, list[str]] = defaultdict(list)
    for each in messages:
        of_queue[each.options["queue"]].append(_envelope(each))
    pipe = client.pipeline(transaction=False)
    for queue, texts in of_queue.items():
        pipe.lpush(queue, *texts)
    pipe.execute()


def _envelope(message: segment) -> str:
    """Return a message as kombu's virtual transports keep it."""
    task_id, tag = str(uuid.uuid4()), str(uuid.uuid4())
    body = json.dumps([list(message.args), {}, {}]).encode()
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": _headers(task_id),
            "properties": {
                "correlation_id": task_id,
                "delivery_mode": 1,
                "delivery_info": {"exchange": "", "routing_key": message.options["queue"]},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": tag,
            },
        }
    )


def _headers(task_id: str) -> dict[str, Any]:
    """Return the headers of Celery's message protocol 2, without what would show a payload."""
    return {
        "lang": "py",
        "task": TASK,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "argsrepr": "",
        "kwargsrepr": "",
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "origin": "celeriac",
        "ignore_result": True,
    }


def references_of(args: Any) -> list[tuple[str, int, str]]:
    """Read the references of a message. Raises `ValueError` for anything else; a reference is a hint and never trusted."""
    if not (isinstance(args, list) and len(args) == 1 and isinstance(args[0], list) and len(args[0]) <= 1000):
        message = f"A message without references: {json.dumps(args)[:80]}"
        raise ValueError(message)
    found = []
    for each in args[0]:
        match each:
            case [str(execution), int(number), str(item)] if len(execution) <= 64 and 0 <= number < 1_000_000:
                found.append((execution, number, item))
            case _:
                message = f"No reference: {json.dumps(each)[:80]}"
                raise ValueError(message)
    return found
