"""The deployment's secret: read from the setting, or from a file in the data directory, and refused when it
is no secret.

Everything that is sealed or signed is derived from it by label, so that one secret has to be kept, and no two
uses share a key.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from engine.errors import Misconfigured

SETTING = "CELERIAC_SECRET_KEY"
FILE = "secret.key"
BYTES = 32

_PLACEHOLDERS = (
    "change",
    "example",
    "placeholder",
    "password",
    "secret",
    "default",
    "replace",
    "insert",
    "celeriac",
)
_MANY_DISTINCT = 12
"""Of 32 random bytes, 30 are distinct; fewer than a dozen is no accident."""

_MAKE_ONE = (
    f"Make one with: python3 -c 'import base64, os; print(base64.b64encode(os.urandom({BYTES})).decode())'"
)


class SecretKeyMissing(Misconfigured):
    """No secret key is configured."""

    code = "secret_key.missing"


class SecretKeyMalformed(Misconfigured):
    """The secret key is not base64."""

    code = "secret_key.malformed"


class SecretKeyShort(Misconfigured):
    """The secret key is too short to protect anything."""

    code = "secret_key.too_short"


class SecretKeyPlaceholder(Misconfigured):
    """The secret key is a placeholder, which everybody can guess."""

    code = "secret_key.placeholder"


class SecretKeyExposed(Misconfigured):
    """Other users of this machine can read the secret key."""

    code = "secret_key.exposed"


def parse(text: str, place: str = SETTING) -> bytes:
    """Return the secret that base64 `text` holds. Raises one of the errors here, which name `place` and never
    the text.
    """
    compact = text.strip()
    if not compact:
        raise SecretKeyMissing(f"{place} is empty.", hint=_MAKE_ONE)
    try:
        padded = compact.rstrip("=") + "=" * (-len(compact.rstrip("=")) % 4)
        secret = base64.b64decode(padded.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        if _names_placeholder(compact):
            raise SecretKeyPlaceholder(f"{place} holds a placeholder.", hint=_MAKE_ONE) from None
        raise SecretKeyMalformed(f"{place} is not base64.", hint=_MAKE_ONE) from None
    if _names_placeholder(compact) or _names_placeholder(secret.decode("latin-1")):
        raise SecretKeyPlaceholder(f"{place} holds a placeholder.", hint=_MAKE_ONE)
    if len(secret) < BYTES:
        raise SecretKeyShort(f"{place} holds {len(secret)} bytes, and needs {BYTES} or more.", hint=_MAKE_ONE)
    if len(set(secret)) < _MANY_DISTINCT:
        raise SecretKeyPlaceholder(f"{place} holds a pattern and no random bytes.", hint=_MAKE_ONE)
    return secret


def load(setting: str, data: Path, *, make: bool, random_bytes: Callable[[int], bytes]) -> tuple[bytes, ...]:
    """Return the secrets, the one that is used now first: those of the setting, else those in the data directory, else
    (`make`, embedded mode) a new one there.

    Several stand in the setting with commas between, in the file one on a line. Raises `SecretKeyMissing` where none is and
    none may be made: a production process that made its own would seal what the others cannot open.
    """
    if setting.strip():
        return tuple(parse(each) for each in setting.split(","))
    path = data / FILE
    found = _read(path)
    if found is None and make:
        _make(path, random_bytes)
        found = _read(path)
    if found is None:
        raise SecretKeyMissing(f"{SETTING} is not set, and there is no {path}.", hint=f"Set it. {_MAKE_ONE}")
    return tuple(parse(each, str(path)) for each in found.split() or [""])


def derive(secret: bytes, label: str) -> bytes:
    """Return the 32-byte key for one use of the secret."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"celeriac/1/{label}".encode()).derive(secret)


def _names_placeholder(text: str) -> bool:
    lowered = text.lower()
    return any(each in lowered for each in _PLACEHOLDERS)


def _read(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be read: {error.strerror}.",
            hint=f"Make it a plain file of this user, or set {SETTING}.",
        ) from error
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            raise SecretKeyExposed(
                f"Other users of this machine can read {path}.",
                hint=f"chmod 600 {path}; if it was read, store the connections anew under another key.",
            )
        return file.read(4096)


def _make(path: Path, random_bytes: Callable[[int], bytes]) -> None:
    """Write a new secret whole or not at all; of two processes that try at once, one wins and both read its
    file.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{random_bytes(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(random_bytes(BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink()
