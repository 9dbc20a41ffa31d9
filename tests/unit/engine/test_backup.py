from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from engine import backup
from engine.backup import NotABackup
from engine.errors import Conflict, Misconfigured, NotFound, SchemaTooNew
from engine.store.database import SqliteDatabase
from tests.builders import document, node
from tests.workbench import NOW, Workbench


def names(path: Path) -> set[str]:
    connection = SqliteDatabase(path).connect()
    found = {row[0] for row in connection.run("SELECT name FROM workflow")}
    connection.close()
    return found


def test_a_backup_is_one_private_file_with_everything_in_it(bench: Workbench, tmp_path: Path) -> None:
    bench.start(bench.push(document([node("n")])))
    target = tmp_path / "out" / "b.db"
    target.parent.mkdir()
    content = backup.backup(bench.settings, target)
    assert (content.workflows, content.executions, content.unfinished) == (1, 1, 1)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]


def test_a_restored_backup_takes_the_place_of_what_was_there_and_keeps_it(
    bench: Workbench, tmp_path: Path
) -> None:
    bench.push(document([node("n")], name="before"))
    backup.backup(bench.settings, tmp_path / "b.db")
    bench.push(document([node("n")], name="after"))
    with pytest.raises(Conflict):
        backup.restore(bench.settings, tmp_path / "b.db", now=NOW, replace=False)
    content, kept = backup.restore(bench.settings, tmp_path / "b.db", now=NOW, replace=True)
    assert (content.workflows, names(bench.settings.sqlite_path)) == (1, {"before"})
    assert kept is not None
    assert names(kept) == {"before", "after"}


def test_into_an_empty_place_a_backup_is_restored_unasked(bench: Workbench, tmp_path: Path) -> None:
    bench.push(document([node("n")]))
    backup.backup(bench.settings, tmp_path / "b.db")
    fresh = tmp_path / "fresh" / "celeriac.db"
    settings = replace(bench.settings, database_url=f"sqlite:///{fresh}")
    _, kept = backup.restore(settings, tmp_path / "b.db", now=NOW, replace=False)
    assert (names(fresh), kept) == ({"w"}, None)
    assert (tmp_path / "b.db").exists()


def test_nothing_is_written_over(bench: Workbench, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    target.write_text("precious")
    with pytest.raises(Conflict):
        backup.backup(bench.settings, target)
    assert target.read_text() == "precious"


def test_a_folder_that_is_not_there_is_told(bench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as refused:
        backup.backup(bench.settings, tmp_path / "no" / "b.db")
    assert refused.value.hint == f"Make it: mkdir -p {tmp_path / 'no'}"


def test_an_installation_that_is_not_there_is_not_backed_up(bench: Workbench, tmp_path: Path) -> None:
    settings = replace(bench.settings, database_url=f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(NotFound):
        backup.backup(settings, tmp_path / "b.db")


def test_only_what_is_a_backup_is_restored(bench: Workbench, tmp_path: Path) -> None:
    bench.push(document([node("n")], name="there"))
    text = tmp_path / "text"
    text.write_text("hello")
    foreign = tmp_path / "foreign.db"
    other = SqliteDatabase(foreign).connect()
    other.run("CREATE TABLE other (id TEXT)")
    other.close()
    damaged = tmp_path / "damaged.db"
    backup.backup(bench.settings, damaged)
    damaged.write_bytes(damaged.read_bytes()[:40_000])
    for file in (text, foreign, damaged):
        with pytest.raises(NotABackup):
            backup.restore(bench.settings, file, now=NOW, replace=True)
    with pytest.raises(NotFound):
        backup.restore(bench.settings, tmp_path / "none", now=NOW, replace=True)
    assert names(bench.settings.sqlite_path) == {"there"}


def test_a_backup_of_a_newer_version_is_refused(bench: Workbench, tmp_path: Path) -> None:
    bench.connection.run("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew):
        backup.backup(bench.settings, tmp_path / "b.db")
    assert not (tmp_path / "b.db").exists()


def test_a_postgresql_server_has_better_tools(bench: Workbench, tmp_path: Path) -> None:
    settings = replace(bench.settings, database_url="postgresql://host/name")
    with pytest.raises(Misconfigured) as refused:
        backup.backup(settings, tmp_path / "b.db")
    assert "pg_dump" in str(refused.value.hint)
