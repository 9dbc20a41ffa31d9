"""What a driver's error means: decided by codes, the same way for whoever talks to a database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from engine.store.database import PostgresDatabase, SqliteDatabase, Verdict

POSTGRES = PostgresDatabase("postgresql://nowhere/")


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("said in words that nobody reads")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (sqlite3.SQLITE_BUSY, "repeat"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "repeat"),
        (sqlite3.SQLITE_LOCKED, "repeat"),
        (sqlite3.SQLITE_FULL, "unavailable"),
        (sqlite3.SQLITE_IOERR_FSYNC, "unavailable"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "unavailable"),
        (sqlite3.SQLITE_CANTOPEN, "unavailable"),
        (sqlite3.SQLITE_ERROR, "own"),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, "own"),
        (sqlite3.SQLITE_TOOBIG, "own"),
    ],
)
def test_sqlite_is_judged_by_its_primary_result_code(tmp_path: Path, code: int, verdict: Verdict) -> None:
    assert SqliteDatabase(tmp_path / "x.db").judge(sqlite_error(code)) == verdict


def test_what_no_driver_has_raised_is_the_works_own_fault(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.db")
    assert database.judge(ValueError("broken")) == "own"
    assert database.judge(sqlite3.ProgrammingError("Incorrect number of bindings")) == "own"
    assert POSTGRES.judge(ValueError("broken")) == "own"
    assert POSTGRES.judge(psycopg.DataError("text fields cannot contain NUL")) == "own"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (psycopg.OperationalError, "lost"),
        (psycopg.InterfaceError, "lost"),
        (errors.ConnectionException, "lost"),
        (errors.AdminShutdown, "lost"),
        (errors.CannotConnectNow, "lost"),
        (errors.ReadOnlySqlTransaction, "lost"),
        (errors.IdleInTransactionSessionTimeout, "lost"),
        (errors.DiskFull, "unavailable"),
        (errors.OutOfMemory, "unavailable"),
        (errors.TooManyConnections, "unavailable"),
        (errors.SerializationFailure, "repeat"),
        (errors.DeadlockDetected, "repeat"),
        (errors.LockNotAvailable, "repeat"),
        (errors.ProgramLimitExceeded, "own"),
        (errors.QueryCanceled, "own"),
        (errors.UniqueViolation, "own"),
    ],
)
def test_postgresql_is_judged_by_its_sqlstate(error: type[psycopg.Error], verdict: Verdict) -> None:
    assert POSTGRES.judge(error("said in words that nobody reads")) == verdict
