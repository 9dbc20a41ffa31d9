from __future__ import annotations

import hashlib
import hmac

from engine.expressions import derived_entropy
from engine.expressions.scope import Scope


def test_a_draw_is_the_beginning_of_an_hmac_over_its_number() -> None:
    entropy = derived_entropy(b"secret", 5)
    expected = hmac.new(b"secret", b"\0\0\0\0\0\0\0\x07", hashlib.sha256).digest()[:16]

    assert (entropy.draw(7), entropy.now_ms) == (expected, 5)


def test_draws_repeat_with_the_key_and_differ_without() -> None:
    one, same, other = derived_entropy(b"a", 0), derived_entropy(b"a", 0), derived_entropy(b"b", 0)

    assert [one.draw(n) for n in range(10)] == [same.draw(n) for n in range(10)]
    assert len({one.draw(n) for n in range(10)} | {other.draw(n) for n in range(10)}) == 20


def test_a_scope_numbers_its_draws() -> None:
    entropy = derived_entropy(b"a", 0)
    scope = Scope({}, entropy)

    assert [scope.draw(), scope.draw()] == [entropy.draw(0), entropy.draw(1)]
    assert scope.draws == 2
