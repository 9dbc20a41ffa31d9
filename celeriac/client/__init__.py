"""A client of the API: one method an operation, by the operation's own name; JSON in and JSON out.

    async with Client("http://127.0.0.1:8321", token) as client:
        started = await client.execute("greet", {"name": "Ada"}, wait=10)

What the API refuses is raised as `Refused`, with the API's own code, message and remedy.
"""

from __future__ import annotations

from celeriac.client.accounts import Accounts
from celeriac.client.approvals import Approvals
from celeriac.client.asking import Body, Refused, Unreachable
from celeriac.client.connections import Connections
from celeriac.client.events import Events
from celeriac.client.executions import Executions
from celeriac.client.installation import Installation
from celeriac.client.models import Models
from celeriac.client.schedules import Schedules
from celeriac.client.subscriptions import Subscriptions
from celeriac.client.webhooks import Webhooks
from celeriac.client.workflows import Workflows

__all__ = ["FINAL", "Body", "Client", "Refused", "Unreachable"]

FINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
"""The statuses an execution ends in."""


class Client(
    Workflows,
    Executions,
    Approvals,
    Schedules,
    Webhooks,
    Events,
    Subscriptions,
    Connections,
    Models,
    Accounts,
    Installation,
):
    """One API. `token` is an API key, a session's access token, or the keeper's. `project` is the one that is meant, by id or
    name, instead of the default one or the only one. `transport` serves requests in this process instead of sending them; then
    it is not `live`: nothing goes on by itself, and nothing can be followed.
    """
