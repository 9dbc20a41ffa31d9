"""The starters of real servers: each starts, says its version, survives a kill, and leaves nothing behind."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

PARENT = """
import sys, time
from tests import servers
server = servers.{kind}()
print(server.pid, server.den.folder, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def processes_in(folder: Path) -> list[int]:
    """The processes that work in a folder, or were told of it."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told = str(folder).encode() in each.read_bytes()
        except OSError:
            continue
        if told:
            found.append(int(each.parent.name))
    return found


def wait_until_gone(folder: Path, pid: int) -> None:
    deadline = time.monotonic() + 15
    while folder.exists() or alive(pid) or processes_in(folder):
        assert time.monotonic() < deadline, (folder, pid, processes_in(folder))
        time.sleep(0.05)


@pytest.fixture(params=servers.valkey_binaries(), ids=lambda each: each.parent.name)
def own_valkey(request: pytest.FixtureRequest) -> Iterator[servers.Valkey]:
    server = servers.Valkey(request.param)
    yield server
    server.stop()


@pytest.fixture(params=servers.postgres_binaries(), ids=lambda each: each.parent.name)
def own_postgres(request: pytest.FixtureRequest) -> Iterator[servers.Postgres]:
    server = servers.Postgres(request.param)
    yield server
    server.stop()


@pytest.fixture
def own_rabbitmq() -> Iterator[servers.RabbitMQ]:
    if not servers.rabbitmq_scripts():
        pytest.skip("RabbitMQ is not installed (apt-get install rabbitmq-server)")
    server = servers.RabbitMQ()
    yield server
    server.stop()


def test_the_valkey_of_this_run_answers_and_can_be_emptied(valkey: servers.Valkey) -> None:
    valkey.client.set("here", "1")
    valkey.flush()
    assert valkey.client.get("here") is None


def test_every_valkey_on_this_machine_comes_back_empty_after_a_kill(own_valkey: servers.Valkey) -> None:
    assert own_valkey.version.startswith(("Valkey ", "Redis "))
    first = own_valkey.pid
    own_valkey.client.set("here", "1")
    own_valkey.kill()
    assert not alive(first)
    own_valkey.restart()
    assert own_valkey.pid != first
    assert own_valkey.client.get("here") is None


def test_every_postgres_on_this_machine_keeps_what_was_committed_before_a_kill(
    own_postgres: servers.Postgres,
) -> None:
    assert own_postgres.version.startswith("PostgreSQL ")
    with own_postgres.database() as url:
        with psycopg.connect(url) as connection:
            connection.execute("create table kept as select 7 as n")
        own_postgres.kill()
        own_postgres.restart()
        with psycopg.connect(url) as connection:
            assert connection.execute("select n from kept").fetchall() == [(7,)]


def test_a_fresh_database_is_made_from_a_template_and_is_gone_afterwards(postgres: servers.Postgres) -> None:
    def prepare(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("create table prepared as select 5 as n")

    template = postgres.template("prepared", prepare)
    with postgres.database(template) as url, psycopg.connect(url) as connection:
        assert connection.execute("select n from prepared").fetchall() == [(5,)]
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_databases_are_fresh_for_each_test(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
    assert tables == (0,)


@pytest.mark.timeout(120)
def test_rabbitmq_comes_back_at_the_same_address_after_a_kill(own_rabbitmq: servers.RabbitMQ) -> None:
    assert own_rabbitmq.version.startswith("RabbitMQ ")
    folder, first = own_rabbitmq.den.folder, own_rabbitmq.pid
    own_rabbitmq.restart()
    second = own_rabbitmq.pid
    assert first != second
    own_rabbitmq.stop()
    wait_until_gone(folder, second)


@pytest.mark.parametrize("kind", ["Valkey", "Postgres"])
def test_a_stopped_server_leaves_no_process_and_no_file(kind: str) -> None:
    server = servers.Valkey() if kind == "Valkey" else servers.Postgres()
    folder, pid = server.den.folder, server.pid
    assert processes_in(folder)
    server.stop()
    wait_until_gone(folder, pid)


@pytest.mark.parametrize(
    "kind",
    [
        "Valkey",
        "Postgres",
        pytest.param(
            "RabbitMQ",
            marks=pytest.mark.skipif(
                not servers.rabbitmq_scripts(),
                reason="RabbitMQ is not installed (apt-get install rabbitmq-server)",
            ),
        ),
    ],
)
def test_a_server_ends_with_its_parent_even_if_that_is_killed(kind: str) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(kind=kind)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as parent:
        assert parent.stdout
        pid, folder = parent.stdout.readline().split()
        assert alive(int(pid))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_until_gone(Path(folder), int(pid))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as somebody else")
def test_postgres_binaries_that_only_root_can_reach_are_copied_for_its_owner(tmp_path: Path) -> None:
    wheel = next(each for each in servers.postgres_binaries() if "site-packages" in each.parts)
    package = wheel.parent.parent
    hidden = tmp_path / "hidden"
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, hidden / folder.name, symlinks=True)
    hidden.chmod(0o700)
    server = servers.Postgres(hidden / wheel.relative_to(package.parent))
    try:
        program = Path(f"/proc/{server.pid}/exe").readlink()
        assert program.is_relative_to(server.den.folder)
        assert program.stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert hidden.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()


def test_a_server_that_was_given_by_its_address_is_not_ours_to_kill(own_valkey: servers.Valkey) -> None:
    given = servers.Valkey(url=f"unix://{own_valkey.den.folder}/s")
    with pytest.raises(servers.NotOurs, match="CELERIAC_TEST_REDIS_URL"):
        given.restart()
    given.stop()
    assert own_valkey.client.ping()


def test_a_program_that_ends_at_once_is_reported_with_what_it_said() -> None:
    den = servers.Den()
    process = den.start(["/bin/sh", "-c", "echo no room here; exit 3"], quits_on=signal.SIGTERM)
    with pytest.raises(servers.NoServer, match="ended with 3:\nno room here"):
        den.wait_for(process, lambda: False)
    den.clear()
    assert not den.folder.exists()


def test_the_header_of_a_run_names_the_servers_it_uses() -> None:
    valkey, postgres, rabbitmq = servers.survey()
    assert valkey.startswith("Valkey/Redis: ")
    assert postgres.startswith("PostgreSQL: ")
    assert rabbitmq.startswith("RabbitMQ: ")
