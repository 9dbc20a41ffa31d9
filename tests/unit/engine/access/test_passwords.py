from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from engine.access import passwords
from engine.access.passwords import LONGEST, SHORTEST, Passwords, PasswordWeak, check
from engine.errors import Unavailable

GOOD = "correct horse battery staple"


@pytest.fixture
def made() -> Iterator[Passwords]:
    found = Passwords()
    yield found
    found.close()


async def test_a_password_is_known_again_and_no_other_is(made: Passwords) -> None:
    stored = await made.hash(GOOD)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert stored != await made.hash(GOOD)
    assert await made.verify(GOOD, stored) == (True, None)
    assert await made.verify(GOOD + " ", stored) == (False, None)


async def test_nobody_has_the_password_of_nobody(made: Passwords) -> None:
    assert await made.verify("nobody has this password", None) == (False, None)


async def test_a_hash_that_is_out_of_date_is_renewed(made: Passwords) -> None:
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    cheap = PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8192, parallelism=1)]).hash(GOOD)
    right, renewed = await made.verify(GOOD, cheap)
    assert right
    assert renewed is not None
    assert await made.verify(GOOD, renewed) == (True, None)


async def test_letters_are_the_same_however_a_keyboard_makes_them(made: Passwords) -> None:
    stored = await made.hash(check("pa\u0308ssw\u00f6rter sind lang", "x"))
    assert (await made.verify("p\u00e4sswo\u0308rter sind lang", stored))[0]


async def test_the_event_loop_goes_on_meanwhile_and_too_many_are_sent_away(
    made: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "WAITING", 3)
    await made.hash(GOOD)
    held = threading.Event()
    working: list[str] = []

    def slow(password: str) -> str:
        working.append(threading.current_thread().name)
        held.wait(30)
        return password

    monkeypatch.setattr(made._hasher, "hash", slow)
    asked = [asyncio.create_task(made.hash(GOOD)) for _ in range(3)]
    while len(working) < 2:
        await asyncio.sleep(0.001)
    with pytest.raises(Unavailable):
        await made.hash(GOOD)
    assert len(working) == 2
    held.set()
    assert await asyncio.gather(*asked) == [GOOD] * 3
    assert {each.partition("_")[0] for each in working} == {"password"}


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "x" * SHORTEST,
        "abcab" * 3,
        "x1y2z" * 300,
        "ann.lovelace is me",
        "My PassWord 2026!",
        "abcdefghijkl",
        "a" + "bcdfg" * 205,
    ],
)
def test_what_is_easily_guessed_is_refused_and_not_repeated(text: object) -> None:
    with pytest.raises(PasswordWeak) as refused:
        check(text, "ann.lovelace@example.com")
    assert not isinstance(text, str) or not text or text not in str(refused.value.to_json())


def test_as_short_and_as_long_as_may_be() -> None:
    assert check("qjx7 kwz3 pv", "x") == "qjx7 kwz3 pv"
    long = ("q7x kwz pv3 " * 100)[:LONGEST]
    assert check(long, "x") == long
