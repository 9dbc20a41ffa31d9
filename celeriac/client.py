"""A client of the API: one method a request, JSON in and JSON out.

    async with Client("http://127.0.0.1:8321", token) as client:
        started = await client.execute("greet", {"name": "Ada"}, wait=10)

What the API refuses is raised as `Refused`, with the API's own code, message and remedy.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from celeriac.accounts import Accounts, Body
from celeriac.accounts import part as _part
from celeriac.outcomes import Json

if TYPE_CHECKING:
    import httpx2

FINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
"""The statuses an execution ends in."""


class Refused(Exception):
    """The API did not do it. `errors` are single mistakes, where there are several."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        status: int = 0,
        errors: list[Body] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.status = status
        self.errors = errors or []

    def to_json(self) -> Body:
        """Return `{code, message, hint?, errors?}`."""
        body: Body = {"code": self.code, "message": self.message}
        if self.hint:
            body["hint"] = self.hint
        if self.errors:
            body["errors"] = self.errors
        return body


class Unreachable(Refused):
    """Nobody answered; nobody knows whether the request arrived."""


class Client(Accounts):
    """One API. `token` is an API key, a session's access token, or the keeper's. `project` is the one that is meant, by id or
    name, instead of the default one or the only one. `transport` serves requests in this process instead of sending them; then
    it is not `live`: nothing goes on by itself, and nothing can be followed.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        project: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx2  # a tenth of a second, which not every command has to pay

        self.url = url.rstrip("/")
        self.live = transport is None
        self._lost = httpx2.TransportError
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers={
                "Authorization": f"Bearer {token}",
                "User-Agent": "celeriac",
                **({"X-Celeriac-Project": project} if project else {}),
            },
            timeout=30.0,
            transport=transport,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        """Open it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def push(self, document: bytes) -> Body:
        """Save a definition. Raises `Refused` with every mistake in it."""
        return await self._ask("POST", "/workflows", raw=document)

    async def validate(self, document: bytes) -> Body:
        """Return `{valid, problems}`."""
        return await self._ask("POST", "/workflows/validate", raw=document)

    async def workflows(self, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of workflows."""
        return await self._ask("GET", "/workflows", query={"limit": limit, "cursor": cursor})

    async def workflow(self, ref: str) -> Body:
        """Return a workflow with its document."""
        return await self._ask("GET", f"/workflows/{_part(ref)}")

    async def versions(self, ref: str) -> list[Body]:
        """Return the versions of a workflow."""
        return cast("list[Body]", (await self._ask("GET", f"/workflows/{_part(ref)}/versions"))["data"])

    async def diff(self, ref: str, before: int | None = None, after: int | None = None) -> Body:
        """Return what differs between two versions."""
        return await self._ask("GET", f"/workflows/{_part(ref)}/diff", query={"from": before, "to": after})

    async def enable(self, ref: str, *, enabled: bool = True) -> Body:
        """Let a workflow be started, or not."""
        return await self._ask("POST", f"/workflows/{_part(ref)}/{'enable' if enabled else 'disable'}")

    async def execute(self, ref: str, payload: Json, *, key: str | None = None, wait: int = 0) -> Body:
        """Start a workflow; with `wait` seconds the execution has its result, or at least its `answer`, if that comes in time."""
        return await self._ask(
            "POST", f"/workflows/{_part(ref)}/execute", body={"input": payload}, key=key, wait=wait
        )

    async def executions(
        self,
        *,
        workflow: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Body:
        """Return a page of executions."""
        query = {"workflow": workflow, "status": status, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/executions", query=query)

    async def execution(self, name: str, *, with_input: bool = False, wait: int = 0) -> Body:
        """Return an execution; with `wait` seconds when it has ended, if it does in that time."""
        query = {"include": "input"} if with_input else {}
        return await self._ask("GET", f"/executions/{_part(name)}", query=query, wait=wait)

    async def events(self, name: str, after: int = 0) -> list[Body]:
        """Return the whole history of an execution so far, behind a sequence number."""
        found: list[Body] = []
        while True:
            page = await self._ask("GET", f"/executions/{_part(name)}/events", query={"after": after})
            found.extend(page["data"])
            if not page["data"]:
                return found
            after = found[-1]["seq"]

    async def follow(self, name: str, after: int = 0) -> AsyncIterator[Body]:
        """Yield events as they happen, until the execution has ended."""
        path = f"/api/v1/executions/{_part(name)}/events"
        headers = {"Accept": "text/event-stream"}
        try:
            async with self._http.stream(
                "GET",
                path,
                params={"after": after},
                headers=headers,
                timeout=60.0,
            ) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    raise _refused(answer)
                async for line in answer.aiter_lines():
                    if line.startswith("data: {") and line != "data: {}":
                        yield json.loads(line.removeprefix("data: "))
        except self._lost as error:
            raise self._unreachable(error) from error

    async def nodes(self, name: str, *, with_output: bool = False) -> list[Body]:
        """Return what became of each node."""
        query = {"include": "output"} if with_output else {}
        found = await self._ask("GET", f"/executions/{_part(name)}/nodes", query=query)
        return cast("list[Body]", found["data"])

    async def steps(self, name: str) -> Body:
        """Return what became of the steps of a playbook: `{status, steps, estimated_success, actual_success}`."""
        return await self._ask("GET", f"/executions/{_part(name)}/steps")

    async def cancel(self, name: str, reason: str = "", *, force: bool = False) -> Body:
        """Ask an execution to stop; with `force` without what its scopes do in their end."""
        body: Body = {"reason": reason, "force": force}
        return await self._ask("POST", f"/executions/{_part(name)}/cancel", body=body)

    async def pause(self, name: str) -> Body:
        """Hold an execution."""
        return await self._ask("POST", f"/executions/{_part(name)}/pause")

    async def resume(self, name: str) -> Body:
        """Let a held execution go on."""
        return await self._ask("POST", f"/executions/{_part(name)}/resume")

    async def retry(
        self, name: str, *, from_failure: bool = False, key: str | None = None, wait: int = 0
    ) -> Body:
        """Start an ended execution's version on its input once more; `from_failure` keeps what had ended well."""
        body: Json = {"from": "failure"} if from_failure else None
        return await self._ask("POST", f"/executions/{_part(name)}/retry", body=body, key=key, wait=wait)

    async def fork(
        self, name: str, wish: Mapping[str, Json], *, key: str | None = None, wait: int = 0
    ) -> Body:
        """Start an execution that keeps what another came to: `{from, version?, edits?, dry?}`."""
        return await self._ask("POST", f"/executions/{_part(name)}/fork", body=dict(wish), key=key, wait=wait)

    async def skip(self, name: str, node: str, wish: Mapping[str, Json]) -> Body:
        """Go on without a node: `{item?, output?, reason?}`."""
        return await self._ask("POST", f"/executions/{_part(name)}/nodes/{_part(node)}/skip", body=dict(wish))

    async def cancel_node(self, name: str, node: str, wish: Mapping[str, Json]) -> Body:
        """Let a node fail: `{item?, reason?}`."""
        return await self._ask(
            "POST", f"/executions/{_part(name)}/nodes/{_part(node)}/cancel", body=dict(wish)
        )

    async def items(self, name: str, node: str, wish: Mapping[str, Json]) -> Body:
        """Change a map that runs: `{add?, cancel?, complete?, item?, reason?}`."""
        return await self._ask(
            "POST", f"/executions/{_part(name)}/nodes/{_part(node)}/items", body=dict(wish)
        )

    async def attention(self, limit: int = 200) -> list[Body]:
        """Return what waits for a person's word."""
        return cast("list[Body]", (await self._ask("GET", "/attention", query={"limit": limit}))["data"])

    async def resolve(self, execution: str, segment: int, decision: Mapping[str, Json]) -> Body:
        """Say what became of a segment: `{decision, output?, item?, node?}`."""
        path = f"/executions/{_part(execution)}/segments/{segment}/resolve"
        return await self._ask("POST", path, body=dict(decision))

    async def publish(self, event: Mapping[str, Json]) -> Body:
        """Publish `{type, correlation?, data?, id?}` or a CloudEvent; return `{id, duplicate, woken, started}`."""
        return await self._ask("POST", "/events", body=dict(event))

    async def event_triggers(self, *, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of the triggers of workflows that wait for events."""
        return await self._ask("GET", "/events/triggers", query={"limit": limit, "cursor": cursor})

    async def event_arrivals(self, trigger: str, limit: int = 50) -> list[Body]:
        """Return what became of the latest events at a trigger."""
        path = f"/events/triggers/{_part(trigger)}/arrivals"
        return cast("list[Body]", (await self._ask("GET", path, query={"limit": limit}))["data"])

    async def schedules(
        self, *, workflow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Body:
        """Return a page of schedules."""
        query = {"workflow": workflow, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/schedules", query=query)

    async def schedule(self, name: str) -> Body:
        """Return a schedule."""
        return await self._ask("GET", f"/schedules/{_part(name)}")

    async def add_schedule(self, workflow: str, name: str, config: Mapping[str, Json]) -> Body:
        """Make a schedule for a workflow; the config is that of a schedule trigger."""
        body: Json = {"workflow": workflow, "name": name, "config": dict(config)}
        return await self._ask("POST", "/schedules", body=body)

    async def replace_schedule(self, name: str, config: Mapping[str, Json]) -> Body:
        """Give a schedule another config."""
        return await self._ask("PUT", f"/schedules/{_part(name)}", body={"config": dict(config)})

    async def remove_schedule(self, name: str) -> None:
        """Remove a schedule."""
        await self._ask("DELETE", f"/schedules/{_part(name)}")

    async def pause_schedule(self, name: str, reason: str = "") -> Body:
        """Let a schedule start nothing until it is resumed."""
        return await self._ask("POST", f"/schedules/{_part(name)}/pause", body={"reason": reason})

    async def resume_schedule(self, name: str) -> Body:
        """Let a schedule go on with its next slot."""
        return await self._ask("POST", f"/schedules/{_part(name)}/resume")

    async def run_schedule(self, name: str, payload: Json = None, *, key: str | None = None) -> Body:
        """Start now what a schedule starts; return `{execution, new}`."""
        body: Json = {} if payload is None else {"payload": payload}
        return await self._ask("POST", f"/schedules/{_part(name)}/run", body=body, key=key)

    async def backfill(self, name: str, wish: Mapping[str, Json]) -> Body:
        """Start what past slots stand for: `{from, to, overlap?, dry?}`."""
        return await self._ask("POST", f"/schedules/{_part(name)}/backfill", body=dict(wish))

    async def preview_schedule(self, name: str, count: int = 10, after: str | None = None) -> list[Body]:
        """Return the next slots of a schedule."""
        query = {"count": count, "after": after}
        found = await self._ask("GET", f"/schedules/{_part(name)}/preview", query=query)
        return cast("list[Body]", found["data"])

    async def preview_config(
        self, config: Mapping[str, Json], count: int = 10, after: str | None = None
    ) -> list[Body]:
        """Return the next slots that a config would have."""
        query = {"count": count, "after": after}
        body: Json = {"config": dict(config)}
        return cast(
            "list[Body]", (await self._ask("POST", "/schedules/preview", query=query, body=body))["data"]
        )

    async def slots(self, name: str, limit: int = 50) -> list[Body]:
        """Return what became of the latest slots of a schedule."""
        found = await self._ask("GET", f"/schedules/{_part(name)}/slots", query={"limit": limit})
        return cast("list[Body]", found["data"])

    async def webhooks(
        self, *, workflow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Body:
        """Return a page of webhooks and forms."""
        query = {"workflow": workflow, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/webhooks", query=query)

    async def webhook(self, name: str) -> Body:
        """Return a webhook, without its secrets."""
        return await self._ask("GET", f"/webhooks/{_part(name)}")

    async def add_webhook(self, workflow: str, name: str, config: Mapping[str, Json]) -> Body:
        """Make a webhook for a workflow. The answer shows its secrets, once."""
        body: Json = {"workflow": workflow, "name": name, "config": dict(config)}
        return await self._ask("POST", "/webhooks", body=body)

    async def remove_webhook(self, name: str) -> None:
        """Remove a webhook."""
        await self._ask("DELETE", f"/webhooks/{_part(name)}")

    async def rotate_webhook(self, name: str, *, secret: str | None = None, keep: str | None = None) -> Body:
        """Give a webhook a new secret, or this one; the one before counts for a while. The answer shows it, once."""
        given: dict[str, Json] = {"secret": secret, "keep": keep}
        body: Json = {key: value for key, value in given.items() if value is not None}
        return await self._ask("POST", f"/webhooks/{_part(name)}/rotate", body=body)

    async def enable_webhook(self, name: str, *, enabled: bool = True) -> Body:
        """Let requests arrive, or not."""
        return await self._ask("POST", f"/webhooks/{_part(name)}/{'enable' if enabled else 'disable'}")

    async def webhook_deliveries(self, name: str, limit: int = 50) -> list[Body]:
        """Return the latest deliveries of a webhook."""
        found = await self._ask("GET", f"/webhooks/{_part(name)}/deliveries", query={"limit": limit})
        return cast("list[Body]", found["data"])

    async def test_webhook(
        self, name: str, payload: Json = None, parameters: Mapping[str, str] | None = None
    ) -> Body:
        """Deliver a payload to a webhook as a sender would."""
        body: Json = {"payload": payload, "parameters": {**(parameters or {})}}
        return await self._ask("POST", f"/webhooks/{_part(name)}/test", body=body)

    async def feed(
        self, after: str | None = None, *, topic: str = "project", types: str = "", limit: int = 100
    ) -> Body:
        """Return `{data, cursor, has_more}`: events of all executions behind a cursor, or from the beginning."""
        query = {"after": after, "topic": topic, "types": types or None, "limit": limit}
        return await self._ask("GET", "/events", query=query)

    async def subscriptions(self) -> list[Body]:
        """Return the addresses that are told of events."""
        return cast("list[Body]", (await self._ask("GET", "/subscriptions"))["data"])

    async def subscribe(self, wish: Mapping[str, Json]) -> Body:
        """Have an address told of events: `{url, types?, workflow?, description?}`. The answer shows its secret, once."""
        return await self._ask("POST", "/subscriptions", body=dict(wish))

    async def subscription(self, name: str) -> Body:
        """Return a subscription."""
        return await self._ask("GET", f"/subscriptions/{_part(name)}")

    async def change_subscription(self, name: str, changes: Mapping[str, Json]) -> Body:
        """Change `{url?, types?, workflow?, description?, enabled?}`."""
        return await self._ask("PATCH", f"/subscriptions/{_part(name)}", body=dict(changes))

    async def rotate_subscription(self, name: str) -> Body:
        """Give a subscription a new secret, which the answer shows once. The old one signs too for a day."""
        return await self._ask("POST", f"/subscriptions/{_part(name)}/rotate")

    async def test_subscription(self, name: str) -> Body:
        """Send an event of the type `webhook.test`."""
        return await self._ask("POST", f"/subscriptions/{_part(name)}/test")

    async def deliveries(self, name: str, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of what a subscription was told, the latest first."""
        query = {"limit": limit, "cursor": cursor}
        return await self._ask("GET", f"/subscriptions/{_part(name)}/deliveries", query=query)

    async def redeliver(self, name: str, delivery: str) -> Body:
        """Send what was delivered or given up once more."""
        path = f"/subscriptions/{_part(name)}/deliveries/{_part(delivery)}/redeliver"
        return await self._ask("POST", path)

    async def unsubscribe(self, name: str) -> None:
        """Remove a subscription."""
        await self._ask("DELETE", f"/subscriptions/{_part(name)}")

    async def approvals(
        self, *, status: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Body:
        """Return a page of approvals."""
        query = {"status": status, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/approvals", query=query)

    async def approval(self, name: str) -> Body:
        """Return an approval with what it asks, and who has said what."""
        return await self._ask("GET", f"/approvals/{_part(name)}")

    async def decide(
        self, name: str, decision: Mapping[str, Json], *, principal: str | None = None, roles: str = ""
    ) -> Body:
        """Say `{decision, shown_hash, comment?, form?}` for a principal with these roles."""
        acting = {"X-Celeriac-Principal": principal, "X-Celeriac-Roles": roles}
        headers = {name: value for name, value in acting.items() if value}
        path = f"/approvals/{_part(name)}/decide"
        return await self._ask("POST", path, body=dict(decision), headers=headers)

    async def connections(self) -> list[Body]:
        """Return the connections, without their secrets."""
        return cast("list[Body]", (await self._ask("GET", "/connections"))["data"])

    async def add_connection(self, connection: Mapping[str, Json]) -> Body:
        """Store `{name, kind, hosts, values, replace?}`."""
        return await self._ask("POST", "/connections", body=dict(connection))

    async def connection_kinds(self) -> list[Body]:
        """Return the kinds of connections, with the JSON Schema of the fields of each."""
        return cast("list[Body]", (await self._ask("GET", "/connection-kinds"))["data"])

    async def test_connection(self, name: str) -> Body:
        """Try a connection; return `{ok, message, code?, ms}`."""
        return await self._ask("POST", f"/connections/{_part(name)}/test")

    async def reseal_connections(self) -> Body:
        """Seal every connection under the current secret key; return `{resealed, closed}`."""
        return await self._ask("POST", "/connections/reseal")

    async def remove_connection(self, name: str) -> None:
        """Remove a connection."""
        await self._ask("DELETE", f"/connections/{_part(name)}")

    async def models(self, *, every: bool = False) -> list[Body]:
        """Return the models that were entered and those of this machine; with `every` all that are known."""
        query = {"all": "true"} if every else None
        return cast("list[Body]", (await self._ask("GET", "/models", query=query))["data"])

    async def enter_model(self, name: str, model: Mapping[str, Json]) -> Body:
        """Enter a model: `{provider, model?, connection?, ...}`."""
        return await self._ask("PUT", f"/models/{_part(name)}", body=dict(model))

    async def forget_model(self, name: str) -> None:
        """Forget a model that was entered."""
        await self._ask("DELETE", f"/models/{_part(name)}")

    async def collections(self) -> list[Body]:
        """Return the collections of texts, with how much is in each."""
        return cast("list[Body]", (await self._ask("GET", "/collections"))["data"])

    async def remove_collection(self, name: str) -> None:
        """Remove a collection with all that is in it."""
        await self._ask("DELETE", f"/collections/{_part(name)}")

    async def budgets(self) -> list[Body]:
        """Return the budgets, with what has been spent."""
        return cast("list[Body]", (await self._ask("GET", "/budgets"))["data"])

    async def set_budget(self, scope: str, budget: Mapping[str, Json]) -> Body:
        """Set the budget of `project` or of `workflow:NAME`: `{usd?, tokens?, period?}`."""
        return await self._ask("PUT", f"/budgets/{_part(scope)}", body=dict(budget))

    async def lift_budget(self, scope: str) -> None:
        """Lift a budget."""
        await self._ask("DELETE", f"/budgets/{_part(scope)}")

    async def usage(self, since: int | None = None, until: int | None = None) -> Body:
        """Return what workflows have used of each model, between two times in milliseconds."""
        return await self._ask("GET", "/usage", query={"since": since, "until": until})

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Json = None,
        raw: bytes | None = None,
        key: str | None = None,
        wait: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> Body:
        headers = dict(headers or {})
        content = raw if raw is not None or body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        if wait:
            headers["Prefer"] = f"wait={wait}"
        try:
            answer = await self._http.request(
                method,
                f"/api/v1{path}",
                params={name: value for name, value in (query or {}).items() if value is not None},
                content=content,
                headers=headers,
                timeout=30.0 + wait,
            )
        except self._lost as error:
            raise self._unreachable(error) from error
        if answer.status_code >= 400:
            raise _refused(answer)
        return cast("Body", answer.json()) if answer.content else {}

    def _unreachable(self, error: Exception) -> Unreachable:
        message = f"Nobody answers at {self.url}: {str(error) or type(error).__name__}."
        return Unreachable("api.unreachable", message, hint="Is it up? celeriac doctor looks.")


def _refused(answer: httpx2.Response) -> Refused:
    try:
        body = answer.json()
        return Refused(
            body["code"],
            body["detail"],
            hint=body.get("hint"),
            status=answer.status_code,
            errors=body.get("errors"),
        )
    except (ValueError, KeyError, TypeError):
        message = f"What answers there is no Celeriac: {answer.status_code}."
        return Refused("api.not_celeriac", message, status=answer.status_code)
