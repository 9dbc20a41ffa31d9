"""Sealing: AES-256-GCM in an envelope. Pure; randomness is an argument.

A fresh data key encrypts the text; the key-encryption key, derived from the deployment's secret, wraps the
data key. So the deployment's key can be exchanged by wrapping anew, without touching any text. What a sealed
text belongs to is authenticated with it: a row moved to another project, connection or field does not open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.outside.secret_key import derive

VERSION = 1
"""First byte of a sealed text, and part of what is authenticated."""

_ID, _NONCE, _KEY, _TAG = 8, 12, 32, 16
_WRAPPED = _NONCE + _KEY + _TAG
_HEADER = 1 + _ID


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The key-encryption key. `id` tells one from another and says nothing about either."""

    id: bytes
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> SealingKey:
        """Derive the key from the deployment's secret."""
        key = derive(secret, "sealing")
        return cls(hashlib.sha256(b"celeriac/1/sealing/id" + key).digest()[:_ID], key)


@dataclass(frozen=True, slots=True)
class SealingKeys:
    """The key that seals, and those that did before and still open what is not resealed yet."""

    current: SealingKey
    previous: tuple[SealingKey, ...] = ()

    @classmethod
    def of(cls, secret: bytes, *previous: bytes) -> SealingKeys:
        """Derive the keys from the deployment's secrets, the current one first."""
        return cls(SealingKey.of(secret), tuple(map(SealingKey.of, previous)))

    def find(self, key_id: bytes) -> SealingKey | None:
        """Return the key of this id."""
        return next((each for each in (self.current, *self.previous) if each.id == key_id), None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed text belongs. It opens there and nowhere else."""

    project: str
    connection: str
    field: str

    def bound(self, *more: str) -> bytes:
        """Return the bytes that are authenticated, unambiguous whatever the ids contain."""
        return json.dumps([VERSION, self.project, self.connection, self.field, *more]).encode()


class SealedWithOtherKey(Exception):
    """The text was sealed under another deployment's key."""


class SealBroken(Exception):
    """The sealed text was altered, or belongs to another place."""


def seal(plain: bytes, place: Place, keys: SealingKeys, random_bytes: Callable[[int], bytes]) -> bytes:
    """Return `plain` sealed under the current key: version, key id, wrapped data key, nonce, text with its tag."""
    key = keys.current
    data_key, wrap_nonce, nonce = random_bytes(_KEY), random_bytes(_NONCE), random_bytes(_NONCE)
    wrapped = AESGCM(key.key).encrypt(wrap_nonce, data_key, place.bound("key"))
    text = AESGCM(data_key).encrypt(nonce, plain, place.bound("text"))
    return bytes([VERSION]) + key.id + wrap_nonce + wrapped + nonce + text


def open_sealed(sealed: bytes, place: Place, keys: SealingKeys) -> bytes:
    """Return what was sealed for this place. Raises `SealedWithOtherKey` or `SealBroken`."""
    wrap, rest = _parts(sealed)
    try:
        data_key = _unwrapped(sealed, wrap, place, keys)
        return AESGCM(data_key).decrypt(rest[:_NONCE], rest[_NONCE:], place.bound("text"))
    except InvalidTag:
        raise SealBroken("The sealed text was altered, or belongs elsewhere.") from None


def sealed_under(sealed: bytes, key: SealingKey) -> bool:
    """Whether a sealed text is under this key, and not under an earlier one."""
    return sealed[1:_HEADER] == key.id


def rewrapped(sealed: bytes, place: Place, keys: SealingKeys, random_bytes: Callable[[int], bytes]) -> bytes:
    """Return the same text under the current key: its data key wrapped anew, the text untouched. Raises as `open_sealed`."""
    wrap, rest = _parts(sealed)
    try:
        data_key = _unwrapped(sealed, wrap, place, keys)
    except InvalidTag:
        raise SealBroken("The sealed text was altered, or belongs elsewhere.") from None
    nonce = random_bytes(_NONCE)
    wrapped = AESGCM(keys.current.key).encrypt(nonce, data_key, place.bound("key"))
    return bytes([VERSION]) + keys.current.id + nonce + wrapped + rest


def _parts(sealed: bytes) -> tuple[bytes, bytes]:
    if len(sealed) < _HEADER + _WRAPPED + _NONCE + _TAG or sealed[0] != VERSION:
        raise SealBroken("This is no sealed text of this version.")
    return sealed[_HEADER : _HEADER + _WRAPPED], sealed[_HEADER + _WRAPPED :]


def _unwrapped(sealed: bytes, wrap: bytes, place: Place, keys: SealingKeys) -> bytes:
    key = keys.find(sealed[1:_HEADER])
    if key is None:
        raise SealedWithOtherKey("The text was sealed under another key.")
    return AESGCM(key.key).decrypt(wrap[:_NONCE], wrap[_NONCE:], place.bound("key"))
