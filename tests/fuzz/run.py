"""One run: an installation with something of everything in it, and the fuzzer at its door."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx2

from tests.builders import ROOT, document, edges, node
from tests.fuzz.hooks import THINGS
from tests.story.house import House

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
"""No 5xx, and no answer that the description does not know of."""

PHASES = ("examples", "coverage", "fuzzing")
_ANSWERED_WITHIN = 30
_OF_EACH = 6


def fuzz(
    house: House, seed: int, examples: int, phases: tuple[str, ...] = PHASES
) -> subprocess.CompletedProcess[str]:
    """Fuzz a house that has started with so many examples an operation; the same seed asks the same."""
    line = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{house.url}/api/v1/openapi.json"),
        *("--header", f"Authorization: Bearer {house.token}"),
        *("--seed", str(seed), "--max-examples", str(examples), "--phases", ",".join(phases)),
        *("--checks", ",".join(CHECKS), "--suppress-health-check", "all", "--continue-on-failure"),
        *("--request-timeout", str(_ANSWERED_WITHIN), "--warnings", "off", "--generation-database", "none"),
        *("--no-shrink", "--no-color", "--output-sanitize", "false"),
    ]
    around = {
        **os.environ,
        "NO_PROXY": "*",
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
        THINGS: json.dumps(furnish(house)),
    }
    return subprocess.run(
        line, env=around, cwd=house.den.folder, capture_output=True, text=True, check=False, timeout=3600
    )


def furnish(house: House) -> dict[str, list[str]]:
    """Put several of everything into a house; return what exists, by the names that paths have for it."""
    headers = {"Authorization": f"Bearer {house.token}"}
    with httpx2.Client(base_url=f"{house.url}/api/v1", headers=headers, trust_env=False, timeout=30) as http:
        made = dict(_made(http))
        deadline = time.monotonic() + 30
        while len(asking := http.get("/approvals").json()["data"]) < _OF_EACH and time.monotonic() < deadline:
            time.sleep(0.1)
    made["approval"] = [each["id"] for each in asking]
    return made | {"number": ["0"], "node": ["ask", "each"], "scope": ["project", "workflow:pay_0"]}


def _made(http: httpx2.Client) -> Iterator[tuple[str, list[str]]]:
    def post(path: str, body: Any) -> Any:
        answer = http.post(path, json=body)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()

    names = [f"pay_{number}" for number in range(_OF_EACH)]
    nodes = [
        node("ask", "approval", {"title": "Pay?"}),
        node("each", "wait", {"for": "1h"}, for_each={"items": "[1, 2, 3]"}),
    ]
    trigger = {"type": "event", "config": {"type": "due"}}
    for name in names:
        post("/workflows", document(nodes, edges(), name=name, trigger=trigger))
    yield "ref", names
    yield "execution", [post(f"/workflows/{name}/execute", {"input": {}})["id"] for name in names]
    config = {"every": "1h"}
    yield (
        "schedule",
        [post("/schedules", {"workflow": name, "name": "hourly", "config": config})["id"] for name in names],
    )
    yield "webhook", [post("/webhooks", {"workflow": name, "name": "paid"})["id"] for name in names]
    hook = {"url": "https://hooks.example.com/told"}
    yield "subscription", [post("/subscriptions", hook)["id"] for _ in names]
    yield "key", [post("/keys", {"name": name, "scopes": ["viewer"]})["id"] for name in names]
    yield "user", [post("/users", {"name": f"{name}@example.com"})["id"] for name in names]
    values = {"kind": "bearer", "hosts": ["api.example.com"], "values": {"token": "s3cr3t-t0k3n"}}
    for name in names:
        post("/connections", {"name": name, **values})
        http.put(f"/variables/{name}", json={"value": name}).raise_for_status()
    yield "name", names
    yield "project", ["default", post("/projects", {"name": "other"})["id"]]
    yield "trigger", [each["id"] for each in http.get("/events/triggers").json()["data"]]
