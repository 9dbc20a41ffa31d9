"""An empty database for rehearsals: the newest schema as SQLite's own text, since migrating a file takes a second.

The text is written from the migrations (`python -m engine.rehearsal.tables`); a test holds it against them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from engine.settings import DEFAULT_PROJECT, Settings
from engine.store import schema
from engine.store.database import SqliteConnection
from engine.store.memory import MemoryDatabase

TEXT: Final = Path(__file__).with_name("tables.sql")
_THERE = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"


def make() -> MemoryDatabase:
    """Make an empty database with the tables of today."""
    database = MemoryDatabase()
    database.connection.script(TEXT.read_text(encoding="utf-8"))
    database.connection.run(
        "INSERT INTO project (id, name, created_at) VALUES (?, 'default', 0)", (DEFAULT_PROJECT,)
    )
    return database


def written() -> str:
    """Return the text that the migrations come to."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "celeriac.db"
        schema.migrate(Settings(f"sqlite:///{path}", "", Path(folder)), 0)
        connection = SqliteConnection(path)
        found = [row[0] for row in connection.run(_THERE)]
        connection.close()
    lines = "".join(f"{each.strip()};\n" for each in found).splitlines()
    return "".join(f"{each.rstrip()}\n" for each in lines)


def main() -> None:
    """Write the committed copy."""
    TEXT.write_text(written(), encoding="utf-8")


if __name__ == "__main__":
    main()
