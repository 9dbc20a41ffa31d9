"""Where requests from outside arrive, as rows: found by their path or their secret, made, changed, and given new secrets.

An address with a secret is found by the hash of the whole of it; what signs requests is sealed like a credential. Both are
shown once, when they are made.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from celeriac import Json
from engine import schema
from engine.catalog import Active, Versions
from engine.errors import Conflict, Invalid, NotFound, Unavailable
from engine.listing import Body, Page
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection
from engine.triggers import paths, webhooks
from engine.triggers.registration import API, DEFINITION, WebhookNameTaken, stored, take_shape
from engine.triggers.verification import make_secret, secret_fault
from engine.triggers.webhooks import Webhook

if TYPE_CHECKING:
    from engine.outside.sealing import Place, SealingKeys

ROTATION: Final = 86_400_000
"""Milliseconds for which the secret before is still good, if nothing else is said."""
LONGEST_ROTATION: Final = 30 * 86_400_000
FIELD: Final = "secrets"
_ADDRESS_BYTES: Final = 24

_COLUMNS: Final = (
    "SELECT e.id, e.name, e.origin, e.kind, e.shape, e.config, e.enabled, e.sealed, w.id, w.name, w.enabled, w.version_id, "
    "e.project_id, e.created_at, e.updated_at FROM endpoint e "
    "JOIN workflow w ON w.id = e.workflow_id AND w.deleted_at IS NULL "
)


class WebhookInvalid(Invalid):
    """The webhook cannot be used as it is written."""

    code = "webhook.invalid"


class WebhookUnknown(NotFound):
    """There is no such webhook."""

    code = "webhook.unknown"


class WebhookOfDefinition(Conflict):
    """The webhook stands in its workflow's definition, and is changed there."""

    code = "webhook.of_definition"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address. `text` is its config, `sealed` are the secrets that requests are verified with."""

    id: str
    name: str
    origin: str
    kind: str
    text: str
    webhook: Webhook
    enabled: bool
    sealed: bytes | None
    active: Active
    created_at: int
    updated_at: int

    @property
    def config(self) -> dict[str, Json]:
        """What its author wrote."""
        found: dict[str, Json] = json.loads(self.text)
        return found

    def to_json(self, base: str) -> Body:
        """Return what people see: everything but the secrets."""
        workflow = self.active
        path = self.webhook.path
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "origin": self.origin,
            "workflow": {"id": workflow.workflow, "name": workflow.name},
            "enabled": self.enabled,
            "url": None if path is None else f"{base}{paths.ROOT}/{'/'.join(paths.parts(path))}",
            "config": self.config,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


@dataclass(frozen=True, slots=True)
class Secrets:
    """What requests of one address are verified with: the secret, and for a while the one before."""

    current: str
    previous: str | None = None
    previous_until: int = 0

    def good(self, now: int) -> list[str]:
        """Return the secrets that count."""
        return [self.current, *([self.previous] if self.previous and now < self.previous_until else [])]

    def seal(self, project: str, endpoint: str, key: SealingKeys, entropy: Callable[[int], bytes]) -> bytes:
        """Return what is stored."""
        from engine.outside.sealing import seal

        said = {"current": self.current, "previous": self.previous, "until": self.previous_until}
        return seal(json.dumps(said).encode(), place_of(project, endpoint), key, entropy)

    @classmethod
    def open(cls, sealed: bytes, project: str, endpoint: str, key: SealingKeys) -> Secrets:
        """Open what is stored. Raises `Unavailable`: whoever sends may try again when the right key is there."""
        return _opened(sealed, project, endpoint, key)


def place_of(project: str, endpoint: str) -> Place:
    """Return where the secrets of an address belong."""
    from engine.outside.sealing import Place

    return Place(project, endpoint, FIELD)


@lru_cache(maxsize=256)
def _opened(sealed: bytes, project: str, endpoint: str, key: SealingKeys) -> Secrets:
    from engine.outside.sealing import SealBroken, SealedWithOtherKey, open_sealed

    try:
        said = json.loads(open_sealed(sealed, place_of(project, endpoint), key))
    except (SealBroken, SealedWithOtherKey) as error:
        message = f"The secrets of the webhook {endpoint} cannot be opened: {error}"
        hint = "Set the secret key that they were sealed with, or rotate them."
        raise Unavailable(message, hint=hint) from None
    return Secrets(said["current"], said["previous"], said["until"])


@dataclass(frozen=True, slots=True)
class Issued:
    """Secrets that were made just now, and are shown once."""

    endpoint: Endpoint
    address: str | None = None
    secret: str | None = None

    def to_json(self, base: str) -> Body:
        """Return what is shown."""
        body = self.endpoint.to_json(base)
        if self.address is not None:
            root = "/forms" if self.endpoint.kind == "form" else paths.ROOT
            body["url"] = f"{base}{root}/{self.endpoint.active.workflow}/{self.address}"
        if self.secret is not None:
            body["secret"] = self.secret
        return body


@lru_cache(maxsize=4096)
def _webhook(text: str) -> Webhook:
    return Webhook.parse(json.loads(text))


def check(config: Json) -> dict[str, Any]:
    """Return a config that can be used. Raises `WebhookInvalid` with every mistake in it."""
    found: list[Json] = [
        {"pointer": "".join(f"/{each}" for each in error.instance_path), "message": error.message}
        for error in schema.of_trigger("webhook").iter_errors(config)
    ]
    if isinstance(config, dict):
        found += [
            {
                "pointer": "".join(f"/{each}" for each in fault.path),
                "message": fault.message,
                "hint": fault.hint,
            }
            for fault in webhooks.faults(config)
        ]
    if found or not isinstance(config, dict):
        raise WebhookInvalid(errors=found)
    return config


# --- Reading ------------------------------------------------------------------------------------------------


def at_path(connection: Connection, versions: Versions, asked: list[str]) -> Endpoint | None:
    """Return the webhook whose named path a request means."""
    fitting = [*paths.shapes(asked)]
    if not fitting:
        return None
    marks = ", ".join("?" for _ in fitting)
    rows = connection.run(f"{_COLUMNS} WHERE e.shape IN ({marks}) AND e.enabled = 1", fitting)
    found = {row[4]: row for row in rows}
    row = next((found[each] for each in fitting if each in found), None)
    return None if row is None else _endpoint(connection, versions, row)


def at_address(
    connection: Connection, versions: Versions, kind: str, workflow: str, address: str
) -> Endpoint | None:
    """Return what has this secret address."""
    rows = connection.run(
        f"{_COLUMNS} WHERE e.workflow_id = ? AND e.address_hash = ? AND e.kind = ? AND e.enabled = 1",
        (workflow, _hash(address), kind),
    )
    return _endpoint(connection, versions, rows[0]) if rows else None


def find(connection: Connection, versions: Versions, name: str, project: str = DEFAULT_PROJECT) -> Endpoint:
    """Return an endpoint by its id. Raises `WebhookUnknown`."""
    rows = connection.run(f"{_COLUMNS} WHERE e.project_id = ? AND e.id = ?", (project, name))
    if not rows:
        message = f"There is no webhook {name[:100]!r}."
        raise WebhookUnknown(message, hint="celeriac webhooks list shows what there is.")
    return _endpoint(connection, versions, rows[0])


def listing(
    connection: Connection,
    versions: Versions,
    base: str,
    limit: int,
    *,
    workflow: str | None = None,
    after: str = "",
    project: str = DEFAULT_PROJECT,
) -> Page:
    """Return endpoints in the order of their ids, those behind `after`; of one workflow, by id or name, or of all."""
    where, values = "WHERE e.project_id = ? AND e.id > ?", [project, after]
    if workflow is not None:
        where += " AND (w.id = ? OR w.name = ?)"
        values += [workflow, workflow]
    rows = connection.run(f"{_COLUMNS} {where} ORDER BY e.id LIMIT ?", (*values, limit + 1))
    listed = [_endpoint(connection, versions, row).to_json(base) for row in rows[:limit]]
    return Page(listed, str(rows[limit - 1][0]) if len(rows) > limit else None)


def arrivals(connection: Connection, name: str, limit: int) -> list[Body]:
    """Return the latest deliveries."""
    rows = connection.run(
        "SELECT key, status, execution_id, detail, at FROM inbox WHERE source = ? ORDER BY at DESC, key DESC LIMIT ?",
        (name, limit),
    )
    return [
        {
            "delivery": key,
            "status": status,
            "execution": execution,
            "at": at,
            **({"detail": json.loads(detail)} if detail else {}),
        }
        for key, status, execution, detail, at in rows
    ]


# --- Changing -----------------------------------------------------------------------------------------------


def add(
    name: str,
    workflow: str,
    title: str,
    config: Mapping[str, Any],
    now: int,
    *,
    project: str = DEFAULT_PROJECT,
) -> Callable[[Connection], str]:
    """Return the change that makes a webhook for a workflow, by its id or name; it answers the workflow's id."""

    def change(connection: Connection) -> str:
        found = connection.run(
            "SELECT id FROM workflow WHERE project_id = ? AND hidden = 0 AND deleted_at IS NULL AND (id = ? OR name = ?)",
            (project, workflow, workflow),
        )
        if not found:
            message = f"There is no workflow {workflow!r}."
            raise NotFound(message, hint="celeriac workflows list shows what there is.")
        made = connection.run(
            "INSERT INTO endpoint (id, project_id, workflow_id, name, origin, kind, config, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, 'webhook', ?, ?, ?) ON CONFLICT (workflow_id, name) DO NOTHING RETURNING id",
            (name, project, found[0][0], title, API, stored(config), now, now),
        )
        if not made:
            raise WebhookNameTaken(hint=f"Take another name than {title}.")
        take_shape(connection, name, config.get("path"))
        return str(found[0][0])

    return change


def issue(
    workflow: str, key: Callable[[], SealingKeys], entropy: Callable[[int], bytes], now: int
) -> Callable[[Connection], list[Issued]]:
    """Return the change that makes the secrets that endpoints of a workflow lack. Asks for the `key` only if one is needed."""

    def change(connection: Connection) -> list[Issued]:
        rows = connection.run(
            f"{_COLUMNS} WHERE e.workflow_id = ? AND (e.sealed IS NULL OR (e.shape IS NULL AND e.address_hash IS NULL))",
            (workflow,),
        )
        versions = Versions()
        made = [_issue(connection, _endpoint(connection, versions, row), key, entropy, now) for row in rows]
        return [each for each in made if each.address is not None or each.secret is not None]

    return change


def rotate(
    name: str,
    key: SealingKeys,
    entropy: Callable[[int], bytes],
    now: int,
    *,
    secret: str | None = None,
    keep: int = ROTATION,
    project: str = DEFAULT_PROJECT,
) -> Callable[[Connection], Issued]:
    """Return the change that gives an endpoint a new secret, or the one that a sender has made up.

    The one before counts for `keep` milliseconds more. An address that is a secret itself is another one at once.
    """

    def change(connection: Connection) -> Issued:
        about = find(connection, Versions(), name, project)
        made = Issued(about)
        if about.kind == "form" or (about.webhook.path is None and secret is None):
            made = replace(made, address=_new_address(connection, about, entropy, now))
        if about.kind != "form" and about.webhook.verify.has_secret:
            if secret is not None and (why := secret_fault(about.webhook.verify.scheme, secret)) is not None:
                message = f"The text is no secret: {why}."
                raise WebhookInvalid(message)
            before = None
            if about.sealed is not None:
                with suppress(Unavailable):
                    before = Secrets.open(about.sealed, project, name, key)
            fresh = Secrets(
                secret or make_secret(entropy, about.webhook.verify.scheme),
                None if before is None else before.current,
                now + keep,
            )
            _seal(connection, about, fresh, key, entropy, now)
            made = replace(made, secret=fresh.current)
        return made

    return change


def set_enabled(
    name: str, *, enabled: bool, now: int, project: str = DEFAULT_PROJECT
) -> Callable[[Connection], Endpoint]:
    """Return the change that lets requests arrive, or not."""

    def change(connection: Connection) -> Endpoint:
        find(connection, Versions(), name, project)
        connection.run(
            "UPDATE endpoint SET enabled = ?, updated_at = ? WHERE id = ?", (int(enabled), now, name)
        )
        return find(connection, Versions(), name, project)

    return change


def remove(name: str, project: str = DEFAULT_PROJECT) -> Callable[[Connection], None]:
    """Return the change that removes a webhook; what it has started goes on."""

    def change(connection: Connection) -> None:
        if find(connection, Versions(), name, project).origin == DEFINITION:
            raise WebhookOfDefinition(hint="Change the definition and push it: celeriac push FILE.")
        connection.run("DELETE FROM inbox WHERE source = ?", (name,))
        connection.run("DELETE FROM endpoint WHERE id = ?", (name,))

    return change


def _issue(
    connection: Connection,
    about: Endpoint,
    key: Callable[[], SealingKeys],
    entropy: Callable[[int], bytes],
    now: int,
) -> Issued:
    made = Issued(about)
    if about.webhook.path is None or about.kind == "form":
        ((known,),) = connection.run("SELECT address_hash FROM endpoint WHERE id = ?", (about.id,))
        if known is None:
            made = replace(made, address=_new_address(connection, about, entropy, now))
    if about.kind != "form" and about.webhook.verify.has_secret and about.sealed is None:
        fresh = Secrets(make_secret(entropy, about.webhook.verify.scheme))
        _seal(connection, about, fresh, key(), entropy, now)
        made = replace(made, secret=fresh.current)
    return made


def _new_address(connection: Connection, about: Endpoint, entropy: Callable[[int], bytes], now: int) -> str:
    address = base64.urlsafe_b64encode(entropy(_ADDRESS_BYTES)).decode()
    connection.run(
        "UPDATE endpoint SET address_hash = ?, updated_at = ? WHERE id = ?", (_hash(address), now, about.id)
    )
    return address


def _seal(
    connection: Connection,
    about: Endpoint,
    secrets: Secrets,
    key: SealingKeys,
    entropy: Callable[[int], bytes],
    now: int,
) -> None:
    sealed = secrets.seal(about.active.project, about.id, key, entropy)
    connection.run("UPDATE endpoint SET sealed = ?, updated_at = ? WHERE id = ?", (sealed, now, about.id))


def _endpoint(connection: Connection, versions: Versions, row: Sequence[Any]) -> Endpoint:
    id_, name, origin, kind, _, config, enabled, sealed, *workflow, created, updated = row
    return Endpoint(
        id_,
        name,
        origin,
        kind,
        config,
        _webhook(config),
        bool(enabled),
        None if sealed is None else bytes(sealed),
        versions.started(connection, *workflow),
        created,
        updated,
    )


def _hash(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()
