"""The environment as one frozen value. Read once at the rim; nothing below looks at the environment."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from engine.errors import Misconfigured

DEFAULT_PROJECT = "proj_default"


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of section "limits" in docs/limits.md. Sizes are bytes, times milliseconds."""

    definition_bytes: int = 8 * 1024 * 1024
    nodes: int = 10_000
    edges: int = 50_000
    scopes: int = 500
    scope_depth: int = 10
    call_depth: int = 8
    output_bytes: int = 50_000_000
    blob_from_bytes: int = 32 * 1024
    input_bytes: int = 8 * 1024 * 1024
    log_lines: int = 1_000
    map_items: int = 100_000
    event_ms: int = 7 * 86_400_000
    ending_ms: int = 600_000
    deliveries: int = 3
    inline_segments: int = 64
    inline_ms: int = 50
    requests: int = 6_000
    anonymous_requests: int = 600
    logins: int = 5
    sockets: int = 5_000
    socket_topics: int = 100
    events_kept: int = 2_000
    pieces_kept: int = 500
    piece_ms: int = 100
    piece_characters: int = 2_000
    said_characters: int = 1_000_000
    subscriptions: int = 100
    cache_bytes: int = 256 * 1024
    cache_ms: int = 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class Timing:
    """The rhythm of repair, in milliseconds. Bound on a takeover from another host: `lease + 2 s`."""

    lease: int = 15_000
    heartbeat: int = 5_000
    poll: int = 250
    grace: int = 2_000
    canary: int = 200
    loop_lag: int = 8_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and how much is allowed."""

    database_url: str
    broker_url: str
    data: Path
    node_modules: tuple[str, ...] = ("nodes",)
    egress_allow: str = ""
    mcp_programs: str = field(default="", repr=False)
    files_folder: Path | None = None
    declarations_folder: Path | None = None
    secret_key: str = ""
    queues: tuple[str, ...] = ("default", "cpu")
    children: int = 0
    window: int = 64
    monitor: bool = False
    models_folder: str = ""
    on_foreign: str = "ask"
    api_host: str = "127.0.0.1"
    api_port: int = 8321
    api_hosts: tuple[str, ...] = ()
    api_token: str = field(default="", repr=False)
    public_url: str = ""
    proxies: int = 0
    project: str = ""
    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)

    @property
    def files(self) -> Path:
        """The folder that is set aside for the files of workflows."""
        return self.files_folder or self.data / "files"

    @property
    def declarations(self) -> Path:
        """The folder of the deployment's own node types and connection kinds, declared as JSON."""
        return self.declarations_folder or self.data / "declarations"

    @property
    def sqlite(self) -> bool:
        """Whether the ledger is a SQLite file."""
        return self.database_url.startswith("sqlite")

    @property
    def models(self) -> Path:
        """The folder of the models of this machine."""
        return Path(self.models_folder) if self.models_folder else self.data / "models"

    @property
    def public_base(self) -> str:
        """Where the API is reached from outside, as addresses that are given away begin."""
        if self.public_url:
            return self.public_url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.api_host, self.api_host)  # noqa: S104  never served by that name
        return f"http://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def sqlite_path(self) -> Path:
        """The SQLite file."""
        return Path(self.database_url.removeprefix("sqlite:///"))


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises `Misconfigured` with the variable's name and what it accepts.

    Without `DATABASE_URL` and `BROKER_URL` the embedded stack in the data directory is meant.
    """
    data = Path(environment.get("CELERIAC_DATA") or _default_data(environment)).absolute()
    return Settings(
        database_url=_database_url(environment.get("DATABASE_URL") or f"sqlite:///{data / 'celeriac.db'}"),
        broker_url=environment.get("BROKER_URL") or f"redis+socket://{data / 'valkey.sock'}",
        data=data,
        node_modules=_words(environment.get("CELERIAC_NODES", "nodes")),
        egress_allow=environment.get("CELERIAC_EGRESS_ALLOW", ""),
        mcp_programs=environment.get("CELERIAC_MCP_PROGRAMS", ""),
        files_folder=_folder(environment, "CELERIAC_FILES"),
        declarations_folder=_folder(environment, "CELERIAC_DECLARATIONS"),
        secret_key=environment.get("CELERIAC_SECRET_KEY", ""),
        queues=_words(environment.get("CELERIAC_QUEUES", "default,cpu")),
        children=_number(environment, "CELERIAC_CHILDREN", 0),
        window=_number(environment, "CELERIAC_WINDOW", 64),
        monitor=environment.get("CELERIAC_MONITOR", "") == "1",
        models_folder=environment.get("CELERIAC_MODELS", ""),
        on_foreign=_one_of(environment, "CELERIAC_ON_FOREIGN", "ask", "allow", "fail"),
        api_host=environment.get("CELERIAC_API_HOST", "127.0.0.1"),
        api_port=_number(environment, "CELERIAC_API_PORT", 8321),
        api_hosts=_words(environment.get("CELERIAC_API_HOSTS", "")),
        api_token=environment.get("CELERIAC_API_TOKEN", ""),
        public_url=_public_url(environment.get("CELERIAC_PUBLIC_URL", "")),
        project=environment.get("CELERIAC_PROJECT", ""),
        proxies=_number(environment, "CELERIAC_PROXIES", 0),
        limits=_overridden(Limits(), "CELERIAC_LIMIT_", environment),
        timing=_overridden(Timing(), "CELERIAC_TIMING_", environment),
    )


Group = TypeVar("Group", Limits, Timing)


def _default_data(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_DATA_HOME") or str(Path(environment.get("HOME") or "/tmp") / ".local/share")  # noqa: S108  only where there is no home
    return Path(base) / "celeriac"


def _database_url(url: str) -> str:
    if url.startswith("postgres://"):
        return "postgresql://" + url.removeprefix("postgres://")
    if url.startswith(("postgresql://", "sqlite:///")):
        return url
    message = f"DATABASE_URL names {url.partition(':')[0]!r}, which is no database Celeriac knows."
    raise Misconfigured(message, hint="Use postgresql://user:password@host/name or sqlite:////path/to/file.")


def _public_url(text: str) -> str:
    if not text or re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        return text
    message = f"CELERIAC_PUBLIC_URL is {text!r}, and has to be an address of http or https."
    raise Misconfigured(message, hint="Write it like https://workflows.example.com.")


def _folder(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name)
    return Path(text).absolute() if text else None


def _words(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _one_of(environment: Mapping[str, str], name: str, *words: str) -> str:
    """Read one of several words; the first is the default."""
    text = environment.get(name, "") or words[0]
    if text not in words:
        message = f"{name} is {text!r}, and has to be one of {', '.join(words)}."
        raise Misconfigured(message, hint=f"Unset {name} for the default, {words[0]}.")
    return text


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        message = f"{name} is {text!r}, and has to be a whole number."
        raise Misconfigured(message, hint=f"Unset {name} for the default, {default}.")
    return int(text)


def _overridden(defaults: Group, prefix: str, environment: Mapping[str, str]) -> Group:
    changes = {
        each.name: _number(environment, prefix + each.name.upper(), getattr(defaults, each.name))
        for each in dataclasses.fields(defaults)
    }
    return dataclasses.replace(defaults, **changes)
