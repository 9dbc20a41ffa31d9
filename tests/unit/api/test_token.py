from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api import token
from api.token import TokenUnusable
from engine.settings import Settings


def settings(data: Path, given: str = "") -> Settings:
    return Settings("sqlite:///x", "memory://", data, api_token=given)


def test_the_first_to_ask_makes_it_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    made = token.load(settings(tmp_path / "data"))
    assert made == token.load(settings(tmp_path / "data"))
    assert (made[:4], len(made)) == ("clk_", 47)
    path = tmp_path / "data" / token.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [token.FILE]


def test_several_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: token.load(settings(tmp_path)), range(8)))) == 1


def test_the_environments_goes_first(tmp_path: Path) -> None:
    assert token.load(settings(tmp_path, "x" * 32)) == "x" * 32
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["short", "x" * 31, "with blanks " * 4, "ü" * 40])
def test_one_that_protects_nothing_is_refused_without_being_told(tmp_path: Path, given: str) -> None:
    with pytest.raises(TokenUnusable) as refused:
        token.load(settings(tmp_path, given))
    assert given not in str(refused.value.to_json())


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    token.load(settings(tmp_path))
    (tmp_path / token.FILE).chmod(0o644)
    with pytest.raises(TokenUnusable) as refused:
        token.load(settings(tmp_path))
    assert refused.value.hint == f"Remove it, and a new one is made: rm {tmp_path / token.FILE}"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("x" * 40)
    (tmp_path / token.FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TokenUnusable):
        token.load(settings(tmp_path))
