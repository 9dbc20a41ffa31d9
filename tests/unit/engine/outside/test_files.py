from __future__ import annotations

from pathlib import Path

import pytest

from celeriac import Fail
from engine.outside.files import inside


def test_a_file_in_the_folder_is_found_whether_it_is_there_or_not(tmp_path: Path) -> None:
    assert inside(tmp_path, "a.db") == tmp_path / "a.db"
    assert inside(tmp_path, "deep/er/a.db") == tmp_path / "deep/er/a.db"
    assert inside(tmp_path, "x/../a.db") == tmp_path / "a.db"


@pytest.mark.parametrize(
    "name", ["..", "../a.db", "/etc/passwd", "", ".", "x/../../a.db", "a\0b", "link/a.db", "loop"]
)
def test_nothing_outside_is(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "loop").symlink_to("/etc/passwd")
    with pytest.raises(Fail) as caught:
        inside(folder, name)
    assert caught.value.code == "file.outside"
