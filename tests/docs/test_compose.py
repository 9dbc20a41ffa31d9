"""docker-compose.yml is read here by a reader of the YAML that it uses, which refuses all other YAML."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")

KEY = re.compile(r"(?P<key>[\w<.-]+):(?: (?P<value>.+))?")


class Reader:
    """Maps by indentation, lists of scalars, anchors and merges."""

    def __init__(self, text: str) -> None:
        lines = [line.rstrip() for line in text.splitlines()]
        self.lines = [line for line in lines if line and not line.lstrip().startswith("#")]
        self.anchors: dict[str, Any] = {}
        self.at = 0

    def block(self, depth: int) -> Any:
        if self.lines[self.at].lstrip().startswith("- "):
            return self.items(depth)
        found: dict[str, Any] = {}
        merged: Any = {}
        while self.at < len(self.lines) and self.depth() == depth:
            match = KEY.fullmatch(self.lines[self.at].strip())
            assert match is not None, self.lines[self.at]
            self.at += 1
            key, value = match["key"], match["value"]
            name = value[1:] if value is not None and value.startswith("&") else None
            if value is None or name is not None:
                inner = self.block(self.depth()) if self.depth() > depth else None
                if name is not None:
                    self.anchors[name] = inner
            else:
                inner = self.scalar(value)
            if key == "<<":
                merged = inner
            else:
                assert key not in found, key
                found[key] = inner
        return {**merged, **found}

    def items(self, depth: int) -> list[Any]:
        found = []
        while (
            self.at < len(self.lines)
            and self.depth() == depth
            and self.lines[self.at].lstrip().startswith("- ")
        ):
            found.append(self.scalar(self.lines[self.at].strip()[2:]))
            self.at += 1
        return found

    def scalar(self, value: str) -> Any:
        if value.startswith("*"):
            return self.anchors[value[1:]]
        if value.startswith(("[", '"')):
            return json.loads(value)
        assert not re.match(r"[-?:,{}|>&!%@`']", value), value
        assert not re.search(r": | #", value), value
        return int(value) if value.isdecimal() else value

    def depth(self) -> int:
        line = self.lines[self.at] if self.at < len(self.lines) else ""
        return len(line) - len(line.lstrip())


COMPOSE: dict[str, Any] = Reader(TEXT).block(0)
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_the_topology_is_the_one_of_the_page() -> None:
    assert list(SERVICES) == ["postgres", "valkey", "migrate", "api", "poller", "worker", "flower"]
    assert {name for name, each in SERVICES.items() if each.get("profiles") == ["monitor"]} == {"flower"}


def test_every_container_runs_what_the_page_runs() -> None:
    commands = [
        line.removeprefix("ExecStart=") for line in PAGE.splitlines() if line.startswith("ExecStart=")
    ]
    commands += re.findall(r"^\S+/celeriac migrate$", PAGE, re.MULTILINE)
    by_hand = {
        each.replace("/opt/celeriac/.venv/bin/", "").replace("127.0.0.1", "0.0.0.0")  # noqa: S104  inside the container
        for each in commands
    }
    in_containers = {
        " ".join(each["command"]) for each in SERVICES.values() if each.get("image") == "celeriac"
    }
    assert in_containers == by_hand


def test_the_brokers_keep_nothing_on_disk_alike() -> None:
    (by_hand,) = re.findall(r"^valkey-server (.*)$", PAGE, re.MULTILINE)
    assert '--save "" --appendonly no' in by_hand
    assert SERVICES["valkey"]["command"][:5] == ["valkey-server", "--save", "", "--appendonly", "no"]


def test_whatever_runs_on_has_a_health_check_and_is_started_again() -> None:
    assert {name for name, each in SERVICES.items() if "healthcheck" not in each} == {"migrate"}
    assert {name for name, each in SERVICES.items() if each["restart"] != "unless-stopped"} == {"migrate"}


def test_nothing_starts_before_what_it_needs() -> None:
    for name in ("api", "poller", "worker", "flower"):
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "valkey": {"condition": "service_healthy"},
        }
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_ports_are_open_on_loopback_only() -> None:
    ports = [port for each in SERVICES.values() for port in each.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert len(ports) == 2


def test_no_secret_has_a_default() -> None:
    used = dict(re.findall(r"\$\{(\w+)(:[^}]*)\}", TEXT))
    required = {name for name, rule in used.items() if rule.startswith(":?")}
    (made,) = re.findall(r"^```sh\n(python3 - > \.env .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert required == set(re.findall(r"[A-Z][A-Z_]*(?:PASSWORD|TOKEN|KEY)", made))
    assert {name: rule for name, rule in used.items() if name not in required} == {
        "CELERIAC_EGRESS_ALLOW": ":-",
        "CELERIAC_MONITOR": ":-",
    }
    secrets = re.findall(r"^ +\w*(?:PASSWORD|TOKEN|KEY|AUTH): (.*)$", TEXT, re.MULTILINE)
    assert secrets
    assert [value for value in secrets if ":?" not in value] == []


def test_the_image_is_made_as_the_page_makes_an_installation() -> None:
    steps = re.findall(r"pip install (.*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [step.replace("--no-cache-dir ", "") for step in steps] == re.findall(
        r"pip install (.*)$", PAGE, re.MULTILINE
    )
