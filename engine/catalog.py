"""Workflows and their versions: what is pushed, named, enabled, and started.

A version is immutable and known by the hash of its content, so that pushing the same definition twice changes nothing.
These functions run in the ledger's thread (they take its connection), in the same transaction as everything else there.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from celeriac import Json
from engine import inquiries, nested
from engine.clock import Clock
from engine.cutting import build
from engine.definition import TRIGGER, Workflow, content_hash
from engine.errors import Conflict, NotFound
from engine.holds import Limits
from engine.plan import Plan
from engine.registry import Registry
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection
from engine.triggers import registration


class NameTaken(Conflict):
    """Another workflow has this name already."""

    code = "workflow.name_taken"


@dataclass(frozen=True, slots=True)
class Pushed:
    """A saved workflow: its ids, the number of its version, whether anything is new, and whether it is the active version."""

    workflow: str
    version: str
    number: int
    created: bool
    changed: bool
    active: bool = True


@dataclass(frozen=True, slots=True)
class Active:
    """What starting a workflow needs to know. `inputs` is the text of the schema its payloads have to fit."""

    workflow: str
    version: str
    project: str
    name: str
    enabled: bool
    queue: str
    timeout: float | None
    inputs: str | None
    limits: Limits | None = None
    priority: int = 0
    variables: str | None = None
    """The JSON text of those variables of the project that it reads and the project has; None when there are none."""


Start = tuple[str, float | None, str | None, Limits | None, int]
"""What a version's start depends on: its first queue, its time limit, the schema of its input, its limits, its priority."""

Known = tuple[Start, frozenset[str]]
"""What is kept of a version: what its start depends on, and the names of the variables that it reads from its project."""


def push(
    document: Mapping[str, Any],
    registry: Registry,
    clock: Clock,
    project: str = DEFAULT_PROJECT,
    *,
    hidden: bool = False,
    into: str | None = None,
    publish: bool = True,
) -> Callable[[Connection], Pushed]:
    """Return the change that saves a document without problems under its name, as a new version when it differs.

    With `into`, the id of a workflow, it becomes a version of that one, which takes its name; that raises `NameTaken` when
    another has it. A version that is not to be published starts nothing before it is; the first one of a workflow is the
    active one all the same, but disabled.

    Compiling happens here, in the caller's thread; the change itself only writes. Definitions that are written in it are
    saved with the version, as workflows of their own that are `hidden` from lists.
    """
    workflow = Workflow.parse(document)
    plan = build(workflow, registry)
    plan_text = json.dumps(plan.to_json(), separators=(",", ":"))
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    digest = content_hash(document)
    now = clock.now()
    ids = clock.mint("wf"), clock.mint("ver")
    register = registration.prepare(workflow, clock, project)
    inner = [
        push({"name": ids[1] + name, "definition": written}, registry, clock, project, hidden=True)
        for name, written in (*nested.definitions(workflow), *inquiries.definitions(workflow, plan, registry))
    ]

    def change(connection: Connection) -> Pushed:
        found = _place(connection, workflow.name, project, into)
        name, before = found or (ids[0], None)
        known = connection.run(
            "SELECT id, number FROM workflow_version WHERE workflow_id = ? AND hash = ?", (name, digest)
        )
        if known:
            version, number = known[0]
        else:
            version = ids[1]
            number = connection.run(
                "SELECT coalesce(max(number), 0) + 1 FROM workflow_version WHERE workflow_id = ?", (name,)
            )[0][0]
            connection.run(
                "INSERT INTO workflow_version (id, project_id, workflow_id, number, hash, document, plan, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (version, project, name, number, digest, text, plan_text, now),
            )
            for each in inner:
                each(connection)
        if found and not publish:
            return Pushed(name, version, number, created=False, changed=not known, active=before == version)
        enabled = int(workflow.enabled and publish)
        if found:
            connection.run(
                "UPDATE workflow SET name = ?, version_id = ?, description = ?, enabled = ?, updated_at = ? WHERE id = ?",
                (workflow.name, version, workflow.description, enabled, now, name),
            )
        else:
            connection.run(
                "INSERT INTO workflow (id, project_id, name, description, enabled, hidden, version_id, created_at, "
                "updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    project,
                    workflow.name,
                    workflow.description,
                    enabled,
                    int(hidden),
                    version,
                    now,
                    now,
                ),
            )
        if not hidden:
            register(connection, name)
        return Pushed(name, version, number, created=not found, changed=before != version)

    return change


def keep(
    version: str, name: str, definition: Json, registry: Registry, clock: Clock, project: str
) -> Callable[[Connection], Pushed]:
    """Return the change that saves a definition without problems with a version, as those are that are written inside a call.

    `name` begins with `nested.MARK`, and belongs to this definition alone.
    """
    saved = push({"name": version + name, "definition": definition}, registry, clock, project, hidden=True)

    def change(connection: Connection) -> Pushed:
        # Whoever keeps the same for this version at the same time waits here, and finds it there then.
        connection.run(
            f"SELECT 1 FROM workflow_version WHERE id = ?{locking(connection)}",  # noqa: S608  words of ours
            (version,),
        )
        return saved(connection)

    return change


def set_enabled(
    reference: str, *, enabled: bool, now: int, project: str = DEFAULT_PROJECT
) -> Callable[[Connection], str]:
    """Return the change that enables or disables a workflow by id or name; it answers the id."""

    def change(connection: Connection) -> str:
        name = _find(connection, reference, project)[0]
        connection.run(
            "UPDATE workflow SET enabled = ?, updated_at = ? WHERE id = ?", (int(enabled), now, name)
        )
        return str(name)

    return change


def active(connection: Connection, reference: str, project: str = DEFAULT_PROJECT) -> Active:
    """Return the active version of a workflow by id or name. Raises `NotFound`."""
    return Versions().active(connection, reference, project)


class Versions:
    """Versions met lately. They never change, and reading one costs what its size costs. Safe to use from any thread."""

    def __init__(self, kept: int = 256) -> None:
        self._kept = kept
        self._found: OrderedDict[str, Known] = OrderedDict()
        self._lock = threading.Lock()

    def active(
        self,
        connection: Connection,
        reference: str,
        project: str = DEFAULT_PROJECT,
        number: int | None = None,
    ) -> Active:
        """Return the active version of a workflow by id or name, or the one of a number. Raises `NotFound`."""
        name, title, enabled, version = _find(connection, reference, project)
        if number is not None:
            version = _numbered(connection, name, title, number)
        return self.started(connection, name, title, enabled, version, project)

    def pinned(self, connection: Connection, version: str) -> Active:
        """Return a version that is known to be there, active or not."""
        ((name, title, enabled, project),) = connection.run(_PINNED, (version,))
        return self.started(connection, name, title, enabled, version, project)

    def started(
        self, connection: Connection, name: str, title: str, enabled: int, version: str, project: str
    ) -> Active:
        """Return a version of a workflow whose row has been read."""
        start, shared = self._known(version) or self._keep(version, _read(connection, version))
        return Active(
            name,
            version,
            project,
            title,
            bool(enabled),
            *start,
            variables=_values(connection, project, shared) if shared else None,
        )

    def _known(self, version: str) -> Known | None:
        with self._lock:
            found = self._found.get(version)
            if found is not None:
                self._found.move_to_end(version)
            return found

    def _keep(self, version: str, read: Known) -> Known:
        with self._lock:
            self._found[version] = read
            while len(self._found) > self._kept:
                self._found.popitem(last=False)
        return read


def _read(connection: Connection, version: str) -> Known:
    document, plan_text = connection.run(
        "SELECT document, plan FROM workflow_version WHERE id = ?", (version,)
    )[0]
    plan = Plan.from_json(json.loads(plan_text))
    body = json.loads(document)["definition"]
    inputs = None if "inputs" not in body else json.dumps(body["inputs"])
    start = plan.root.queue, plan.timeout, inputs, Limits.parse(body), body.get("priority", 0)
    return start, frozenset(plan.shared)


def _values(connection: Connection, project: str, names: frozenset[str]) -> str | None:
    """Return the values that a project's variables have now, as the text of an object."""
    marks = ", ".join("?" for _ in names)
    rows = connection.run(
        f"SELECT name, value FROM variable WHERE project_id = ? AND name IN ({marks}) ORDER BY name",  # noqa: S608  marks only
        (project, *sorted(names)),
    )
    return "{" + ",".join(f'"{name}":{value}' for name, value in rows) + "}" if rows else None


def startable(found: Active) -> Active:
    """Return a workflow that may be started. Raises `Conflict` for one that is disabled."""
    if not found.enabled:
        message = f"The workflow {found.name} is disabled."
        raise Conflict(message, hint=f"Enable it: celeriac workflows enable {found.name}")
    return found


def trigger_event(kind: str, trigger: str = TRIGGER) -> dict[str, Json]:
    """Return what an execution remembers of how it was started."""
    return {"type": kind, "id": trigger}


_PINNED = (
    "SELECT w.id, w.name, w.enabled, w.project_id FROM workflow_version v JOIN workflow w ON w.id = v.workflow_id "
    "WHERE v.id = ?"
)


def _place(connection: Connection, name: str, project: str, into: str | None) -> tuple[str, str] | None:
    """Return the workflow that a document is saved in, with its active version; None for a new one."""
    select = f"SELECT id, version_id FROM workflow WHERE project_id = ? AND {{}} = ?{locking(connection)}"  # noqa: S608  words of ours
    found = connection.run(select.format("name"), (project, name))
    if into is not None and (not found or found[0][0] != into):
        if found:
            message = f"There is another workflow {name!r}."
            raise NameTaken(message, hint="Choose another name.")
        found = connection.run(select.format("id"), (project, into))
    return found[0] if found else None


def locking(connection: Connection) -> str:
    """Return what lets other processes wait that would change the same workflow; SQLite has one writer anyway."""
    return " FOR UPDATE" if connection.dialect == "postgresql" else ""


def _numbered(connection: Connection, workflow: str, title: str, number: int) -> str:
    rows = connection.run(
        "SELECT id FROM workflow_version WHERE workflow_id = ? AND number = ?", (workflow, number)
    )
    if not rows:
        message = f"The workflow {title} has no version {number}."
        raise NotFound(message, hint="celeriac workflows versions shows what there is.")
    return str(rows[0][0])


def _find(connection: Connection, reference: str, project: str) -> tuple[Any, ...]:
    rows = connection.run(
        "SELECT id, name, enabled, version_id FROM workflow WHERE project_id = ? AND deleted_at IS NULL "
        "AND (id = ? OR name = ?)",
        (project, reference, reference),
    )
    if not rows:
        message = f"There is no workflow {reference!r}."
        raise NotFound(message, hint="celeriac workflows list shows what there is.")
    return rows[0]
