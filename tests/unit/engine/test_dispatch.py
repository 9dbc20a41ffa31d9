from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import pytest

from engine import dispatch
from engine.canvas import segment
from engine.dispatch import COALESCED, Dispatcher, Room, coalesce

REFERENCES = [(f"exec_{index}", index, "") for index in range(200)]


def lengths(messages: Iterable[segment]) -> list[int]:
    return [len(each.args[0]) for each in messages]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, [1]),
        (3, [1, 1, 1]),
        (8, [2, 2, 2, 2]),
        (10, [2, 2, 2, 2, 2]),
        (127, [31, 31, 31, 31, 3]),
        (128, [32, 32, 32, 32]),
        (200, [32, 32, 32, 32, 32, 32, 8]),
    ],
)
def test_few_references_are_shared_out_and_many_are_packed(count: int, expected: list[int]) -> None:
    messages = coalesce("default", REFERENCES[:count])
    assert lengths(messages) == expected
    assert [tuple(each) for message in messages for each in message.args[0]] == REFERENCES[:count]
    assert {message.options["queue"] for message in messages} <= {"default"}


def test_what_computes_gets_a_message_of_its_own() -> None:
    assert lengths(coalesce("cpu", REFERENCES[:100])) == [1] * 100


def test_a_queue_has_room_for_so_many_segments_and_then_none() -> None:
    room = Room(1)
    assert [room.take("a") for _ in range(COALESCED + 2)] == [True] * COALESCED + [False, False]
    assert room.take("b")


def test_room_is_what_a_look_at_the_queue_says() -> None:
    room = Room(2)
    assert room.learn("a", 0) == 2 * COALESCED
    assert room.learn("a", 1) == COALESCED
    assert room.learn("a", 2) == 0
    assert not room.take("a")
    assert room.learn("a", 9) == 0
    room.learn("a", 1)
    assert room.take("a")


class Post:
    """A broker that keeps what it is given. `raises` says what comes instead, once each."""

    def __init__(self, *raises: Exception) -> None:
        self.raises = list(raises)
        self.published: list[list[list[Any]]] = []
        self.told: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.closed = 0
        self.some = threading.Condition()

    def publish(self, messages: Iterable[segment]) -> None:
        self._answer(lambda: self.published.append([each.args[0] for each in messages]))

    def tell(self, ended: Iterable[tuple[str, str]]) -> None:
        self._answer(lambda: self.told.extend(ended))

    def say(self, pieces: Sequence[str]) -> None:
        self._answer(lambda: self.said.extend(pieces))

    def close(self) -> None:
        with self.some:
            self.closed += 1
            self.some.notify_all()

    def _answer(self, done: Any) -> None:
        with self.some:
            self.some.notify_all()
            if self.raises:
                raise self.raises.pop(0)
            done()

    def wait(self, true: Any) -> None:
        with self.some:
            assert self.some.wait_for(true, 5)


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def dispatcher(post: Post) -> Iterator[Dispatcher]:
    made = Dispatcher(cast("Any", post))
    yield made
    made.close()


def test_what_became_ready_is_sent(post: Post, dispatcher: Dispatcher) -> None:
    dispatcher.send("exec_1", [(2, "", "default")])
    post.wait(lambda: post.published)
    assert post.published == [[[["exec_1", 2, ""]]]]


def test_what_waits_is_sent_before_the_end(post: Post) -> None:
    dispatcher = Dispatcher(cast("Any", post))
    dispatcher.send_all(("default", each) for each in REFERENCES)
    dispatcher.finished("exec_1", "me")
    dispatcher.close()
    sent = [tuple(each) for batch in post.published for message in batch for each in message]
    assert sent == REFERENCES
    assert post.told == [("me", "exec_1")]
    assert post.closed == 1
    assert not dispatcher._thread.is_alive()


def test_what_nodes_say_is_told_in_its_order(post: Post, dispatcher: Dispatcher) -> None:
    for each in ("Once", "upon", "a time"):
        dispatcher.say(each)
    post.wait(lambda: len(post.said) == 3)
    assert post.said == ["Once", "upon", "a time"]


def test_pieces_that_cannot_be_told_are_lost_and_the_next_are_told() -> None:
    post = Post(ConnectionError("gone"))
    dispatcher = Dispatcher(cast("Any", post))
    dispatcher.say("lost")
    post.wait(lambda: post.closed)
    dispatcher.say("told")
    dispatcher.close()
    assert post.said == ["told"]


def test_of_pieces_that_nobody_takes_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "UNSAID", 3)
    post, gate = Post(), threading.Event()

    def publish(_: Iterable[segment]) -> None:
        post._answer(lambda: None)
        gate.wait(5)

    post.publish = publish  # type: ignore[method-assign,assignment]  # a broker that takes its time
    dispatcher = Dispatcher(cast("Any", post))
    with post.some:
        dispatcher.send("exec_1", [(2, "", "default")])
        post.some.wait(5)
    for number in range(9):
        dispatcher.say(str(number))
    gate.set()
    dispatcher.close()
    assert post.said == ["6", "7", "8"]


def test_nobody_is_told_when_nobody_waits(post: Post, dispatcher: Dispatcher) -> None:
    dispatcher.finished("exec_1", None)
    dispatcher.finished("exec_2", "me")
    post.wait(lambda: post.told)
    assert post.told == [("me", "exec_2")]


@pytest.mark.parametrize("error", [ConnectionError("gone"), ValueError("a surprise")])
def test_a_broker_that_fails_is_forgotten_and_the_next_message_is_sent(error: Exception) -> None:
    post = Post(error, error)
    dispatcher = Dispatcher(cast("Any", post))
    dispatcher.send("exec_1", [(1, "", "default")])
    post.wait(lambda: post.closed == 1)
    dispatcher.finished("exec_1", "me")
    post.wait(lambda: post.closed == 2)
    dispatcher.send("exec_2", [(1, "", "default")])
    post.wait(lambda: post.published)
    assert post.published == [[[["exec_2", 1, ""]]]]
    dispatcher.close()
