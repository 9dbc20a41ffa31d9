"""A real MariaDB for the tests, where one is installed; no wheel carries one."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql

from tests.servers import NoServer, Server, _as, _free_port, unprivileged

USER = "celeriac"
TABLES = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
"""What Debian's and MariaDB's own packages make a new server from."""


def mariadb_binary() -> Path | None:
    """The server that this machine has."""
    found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


class Mariadb(Server):
    """A MariaDB on a port of its own. `CELERIAC_TEST_MARIADB` names a folder that has share/mysql elsewhere than usual."""

    named_by = "CELERIAC_TEST_MARIADB"
    killed_by = signal.SIGKILL

    def __init__(self) -> None:
        super().__init__(None)
        self.port = _free_port()
        self.password = secrets.token_urlsafe(16)
        self.url = f"127.0.0.1:{self.port}"
        self._owner: pwd.struct_passwd | None = unprivileged()
        self._share = Path(os.environ.get(self.named_by) or "/usr/share/mysql")
        if self._owner:
            os.chown(self.den.folder, self._owner.pw_uid, self._owner.pw_gid)
        self._line = [
            str(mariadb_binary()),
            "--no-defaults",
            f"--datadir={self.den.folder / 'data'}",
            f"--lc-messages-dir={self._share}",
            f"--socket={self.den.folder / 's'}",
            f"--pid-file={self.den.folder / 'pid'}",
            "--innodb-buffer-pool-size=16M",
            "--innodb-log-file-size=4M",
            "--innodb-flush-log-at-trx-commit=0",
        ]
        self._initialise()
        self._start()
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT version()")
            self.version = f"MariaDB {(cursor.fetchone() or ['unknown'])[0]}"
        self._made = 0

    def connect(self, database: str | None = None) -> Any:
        """Sign in."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.password,
            database=database,
            autocommit=True,
        )

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The name of a fresh database."""
        self._made += 1
        name = f"test_{self._made}"
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        yield name

    def _initialise(self) -> None:
        (self.den.folder / "data").mkdir()
        if self._owner:
            os.chown(self.den.folder / "data", self._owner.pw_uid, self._owner.pw_gid)
        lines = ["create database mysql;", "use mysql;"]
        lines += [(self._share / each).read_text(encoding="utf-8") for each in TABLES]
        lines += [
            "FLUSH PRIVILEGES;",
            f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{self.password}';",
            f"GRANT ALL ON *.* TO '{USER}'@'%';",
        ]
        done = subprocess.run(
            [*self._line, "--bootstrap"],
            input="\n".join(lines),
            text=True,
            capture_output=True,
            check=False,
            **_as(self._owner),
        )
        if done.returncode != 0:
            self.den.clear()
            raise NoServer(f"mariadbd --bootstrap ended with {done.returncode}:\n{done.stderr[-2000:]}")

    def _launch(self) -> subprocess.Popen[bytes]:
        line = [*self._line, "--bind-address=127.0.0.1", f"--port={self.port}"]
        return self.den.start(line, quits_on=signal.SIGTERM, owner=self._owner)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except pymysql.OperationalError:
            return False
        return True


def no_mariadb() -> str | None:
    """Return why this machine has no MariaDB to test with, if that is so."""
    if mariadb_binary() is not None:
        return None
    return "MariaDB is not installed (apt-get install mariadb-server-core)"
