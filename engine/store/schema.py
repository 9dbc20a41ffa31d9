"""The database's schema against the code's: migrate up, or refuse with the remedy. Never down, never by guess."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import SchemaMissing, SchemaTooNew
from engine.settings import DEFAULT_PROJECT, Settings
from engine.store.database import Connection, open_database

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Engine

HEAD = "0015"
"""The newest migration; a test holds it against the files."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x43454C45


def revision(connection: Connection) -> str | None:
    """Return the migration the database is at, or None when it is empty."""
    if connection.dialect == "sqlite":
        there = connection.run("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
    else:
        there = connection.run("SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL")
    rows = connection.run("SELECT version_num FROM alembic_version") if there else []
    return rows[0][0] if rows else None


def check(connection: Connection) -> None:
    """Refuse a database this code must not touch. Raises `SchemaTooNew` or `SchemaMissing`."""
    found = revision(connection)
    if found == HEAD:
        return
    known = sorted(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))
    if found is not None and found not in known:
        message = f"The database is at schema {found}; this version of Celeriac knows up to {HEAD}."
        raise SchemaTooNew(
            message, hint="Run a Celeriac at least as new as the one that migrated the database."
        )
    message = f"The database is at schema {found or 'nothing'}; this version of Celeriac needs {HEAD}."
    raise SchemaMissing(message, hint="Run: celeriac migrate")


def is_at_head(settings: Settings) -> bool:
    """Whether there is nothing to migrate. Raises `SchemaTooNew`."""
    if settings.sqlite and not settings.sqlite_path.exists():
        return False
    connection = open_database(settings).connect()
    try:
        check(connection)
    except SchemaMissing:
        return False
    finally:
        connection.close()
    return True


def migrate(settings: Settings, now: int) -> str:
    """Bring the database to `HEAD` and return it. Safe to run again, from several processes at once, and after a crash."""
    from alembic import command

    if settings.sqlite:
        settings.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
        _prepare_sqlite(settings.sqlite_path)
    engine = engine_for(settings)
    with engine.begin() as connection:
        if not settings.sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        command.upgrade(_config(connection), "head")
        connection.exec_driver_sql(
            f"INSERT INTO project (id, name, created_at) VALUES ('{DEFAULT_PROJECT}', 'default', {int(now)}) "
            "ON CONFLICT (id) DO NOTHING"
        )
    engine.dispose()
    return HEAD


def engine_for(settings: Settings) -> Engine:
    """Return SQLAlchemy's engine for the settings: for migrations and queries, not for the hot path."""
    from sqlalchemy import create_engine

    url = settings.database_url
    return create_engine(url if settings.sqlite else url.replace("postgresql://", "postgresql+psycopg://", 1))


def _prepare_sqlite(path: Path) -> None:
    """Make the file with the permissions and the journal that it keeps for ever."""
    path.touch(mode=0o600, exist_ok=True)
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.close()


def _config(connection: Any) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
