from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.errors import Misconfigured
from engine.outside.secret_key import derive, load, parse

SECRET = random.Random(1).randbytes(32)
TEXT = base64.b64encode(SECRET).decode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def draws(seed: int = 7) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"  {TEXT}\n",
        TEXT.rstrip("="),
        base64.urlsafe_b64encode(SECRET).decode(),
        base64.urlsafe_b64encode(SECRET).decode().rstrip("="),
    ],
)
def test_a_secret_is_read_from_any_common_form_of_base64(text: str) -> None:
    assert parse(text) == SECRET


def test_a_longer_secret_is_taken_whole() -> None:
    secret = random.Random(2).randbytes(48)

    assert parse(b64(secret)) == secret


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "secret_key.missing"),
        ("   ", "secret_key.missing"),
        (b64(SECRET[:31]), "secret_key.too_short"),
        (b64(b"x"), "secret_key.too_short"),
        ("not base64 at all!", "secret_key.malformed"),
        (TEXT[:-2] + "*=", "secret_key.malformed"),
        ("ünicode", "secret_key.malformed"),
        ("changeme", "secret_key.placeholder"),
        ("CHANGE-ME-CHANGE-ME-CHANGE-ME-CHANGE-ME-CHA=", "secret_key.placeholder"),
        ("<your secret here>", "secret_key.placeholder"),
        (b64(b"please change this before you go live!!"), "secret_key.placeholder"),
        (b64(b"my-very-long-celeriac-key-0123456789abcd"), "secret_key.placeholder"),
        (b64(bytes(32)), "secret_key.placeholder"),
        (b64(b"ab" * 16), "secret_key.placeholder"),
        (b64(b"0123456789" * 4), "secret_key.placeholder"),
    ],
)
def test_what_is_no_secret_is_refused_with_the_setting_and_a_remedy(text: str, code: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse(text)

    assert caught.value.code == code
    assert "CELERIAC_SECRET_KEY" in caught.value.message
    assert "os.urandom(32)" in (caught.value.hint or "")
    assert not text.strip() or text not in f"{caught.value.message}{caught.value.hint}"


def test_random_secrets_are_not_taken_for_placeholders() -> None:
    draw = random.Random(3)

    assert [each for each in (draw.randbytes(32) for _ in range(5000)) if parse(b64(each)) != each] == []


def test_the_setting_wins_and_no_file_is_made(tmp_path: Path) -> None:
    assert load(TEXT, tmp_path, make=True, random_bytes=draws()) == (SECRET,)
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_made_once_and_found_again(tmp_path: Path) -> None:
    data = tmp_path / "new"
    made = load("", data, make=True, random_bytes=draws())

    assert load("", data, make=False, random_bytes=draws(8)) == made
    assert [each.name for each in data.iterdir()] == ["secret.key"]
    assert (data / "secret.key").stat().st_mode & 0o777 == 0o600


def test_several_secrets_are_told_in_their_order_from_the_setting_and_from_the_file(tmp_path: Path) -> None:
    other = random.Random(7).randbytes(32)
    assert load(f"{b64(other)}, {TEXT}", tmp_path, make=False, random_bytes=draws()) == (other, SECRET)
    file = tmp_path / "secret.key"
    file.write_text(f"{b64(other)}\n{TEXT}\n")
    file.chmod(0o600)
    assert load("", tmp_path, make=False, random_bytes=draws()) == (other, SECRET)
    with pytest.raises(Misconfigured):
        load(f"{TEXT},", tmp_path, make=False, random_bytes=draws())


def test_a_secret_is_private_whatever_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load("", tmp_path / "new", make=True, random_bytes=draws())
    finally:
        os.umask(before)

    assert (tmp_path / "new" / "secret.key").stat().st_mode & 0o077 == 0
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_processes_that_start_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda seed: load("", tmp_path, make=True, random_bytes=draws(seed)), range(8)))

    assert len(set(made)) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["secret.key"]


def test_without_a_secret_production_does_not_make_its_own(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load("", tmp_path, make=False, random_bytes=draws())

    assert (caught.value.code, list(tmp_path.iterdir())) == ("secret_key.missing", [])


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret.key"
    file.write_text(TEXT)
    file.chmod(mode)

    with pytest.raises(Misconfigured) as caught:
        load("", tmp_path, make=True, random_bytes=draws())

    assert caught.value.code == "secret_key.exposed"
    assert f"chmod 600 {file}" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "code"), [("", "secret_key.missing"), ("changeme", "secret_key.placeholder")]
)
def test_a_bad_file_is_refused_by_its_path(tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "secret.key"
    file.write_text(text)
    file.chmod(0o600)

    with pytest.raises(Misconfigured) as caught:
        load("", tmp_path, make=True, random_bytes=draws())

    assert (caught.value.code, str(file) in caught.value.message) == (code, True)


def test_a_link_to_somewhere_else_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(TEXT)
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / "secret.key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Misconfigured) as caught:
        load("", tmp_path, make=True, random_bytes=draws())

    assert (caught.value.code, bool(caught.value.hint)) == ("settings.invalid", True)


def test_each_use_has_a_key_of_its_own() -> None:
    keys = {derive(SECRET, label) for label in ("sealing", "messages", "webhooks")}

    assert (len(keys), {len(each) for each in keys}) == (3, {32})
    assert derive(SECRET, "sealing") == derive(SECRET, "sealing") != derive(SECRET[::-1], "sealing")
