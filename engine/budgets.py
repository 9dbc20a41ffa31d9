"""Budgets of projects and workflows, and what has been spent: set, listed, summed up. `spending` holds calls against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from celeriac import Json
from engine.errors import Invalid, NotFound
from engine.prices import DOLLAR, dollars
from engine.settings import DEFAULT_PROJECT
from engine.spending import PROJECT, Budget, Period, begin_of
from engine.store.database import Connection

PERIODS: Final = ("day", "month", "total")
LARGEST: Final = 10**9
"""Dollars."""

_LIST: Final = (
    "SELECT b.scope, b.period, b.most_cost, b.most_tokens, b.since, b.cost, b.tokens, w.name FROM budget b "
    "LEFT JOIN workflow w ON b.scope = 'workflow:' || w.id WHERE b.project_id = ? "
    "AND (b.scope = 'project' OR b.scope LIKE 'workflow:%') ORDER BY b.scope"
)
_SPENT: Final = (
    "SELECT coalesce(sum(cost), 0), coalesce(sum(input_tokens + output_tokens), 0) FROM usage "
    "WHERE project_id = ? AND at >= ?"
)
_SET: Final = (
    "INSERT INTO budget (project_id, scope, period, most_cost, most_tokens, since, cost, tokens) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (project_id, scope) DO UPDATE SET period = excluded.period, "
    "most_cost = excluded.most_cost, most_tokens = excluded.most_tokens, since = excluded.since, "
    "cost = excluded.cost, tokens = excluded.tokens"
)
_OF_PROJECT: Final = "SELECT period, most_tokens FROM budget WHERE project_id = ? AND scope = 'project'"
_REMOVE: Final = "DELETE FROM budget WHERE project_id = ? AND scope = ? RETURNING scope"
_WORKFLOW: Final = (
    "SELECT id FROM workflow WHERE project_id = ? AND deleted_at IS NULL AND (id = ? OR name = ?)"
)
_TOTALS: Final = (
    "SELECT {group}, count(*), sum(u.input_tokens), sum(u.output_tokens), sum(u.cached_tokens), sum(u.cost), "
    "sum(CASE WHEN u.settled = 0 THEN 1 ELSE 0 END), sum(CASE WHEN u.cost IS NULL THEN 1 ELSE 0 END) "
    "FROM usage u {join} WHERE {where} GROUP BY {group} ORDER BY {group}"
)

Body = dict[str, Json]


class BudgetInvalid(Invalid):
    """The budget cannot be set like this."""

    code = "budget.invalid"


def listing(connection: Connection, now: int, project: str = DEFAULT_PROJECT) -> list[Body]:
    """Return the budgets, with what has been spent of each in its present period."""
    return [_shown(Budget(*row[:7]).at(now), row[7]) for row in connection.run(_LIST, (project,))]


def put(
    scope: str, given: Mapping[str, Json], now: int, project: str = DEFAULT_PROJECT
) -> Callable[[Connection], Body]:
    """Return the change that sets a budget: of `project`, or of a workflow by id or name.

    What was spent in the period before it was set counts. Raises `BudgetInvalid`; the change raises `NotFound`.
    """
    period, most_cost, most_tokens = _checked(given)

    def change(connection: Connection) -> Body:
        key, workflow = _scope(connection, scope, project)
        budget = _set(connection, project, key, workflow, period, most_cost, most_tokens, now)
        return _shown(budget, scope.removeprefix("workflow:"))

    return change


def limit(connection: Connection, project: str, usd: float | None, now: int) -> None:
    """Set or lift what a project may spend in dollars; its period, a month at first, and its limit of tokens stay."""
    rows = connection.run(_OF_PROJECT, (project,))
    period, tokens = rows[0] if rows else ("month", None)
    if usd is None and tokens is None:
        connection.run(_REMOVE, (project, PROJECT))
    else:
        most_cost = None if usd is None else round(usd * DOLLAR)
        _set(connection, project, PROJECT, None, period, most_cost, tokens, now)


def remove(scope: str, project: str = DEFAULT_PROJECT) -> Callable[[Connection], None]:
    """Return the change that lifts a budget. It raises `NotFound`."""

    def change(connection: Connection) -> None:
        key, _ = _scope(connection, scope, project)
        if not connection.run(_REMOVE, (project, key)):
            message = f"There is no budget of {scope!r}."
            raise NotFound(message, hint="celeriac budgets list shows what there is.")

    return change


def of_execution(connection: Connection, execution: str) -> Body | None:
    """Return what an execution has used, altogether and by node; nothing if it has asked no model."""
    where = "u.execution_id = ?"
    nodes = _totals(connection, "u.execution_id, u.node", where, (execution,))
    if not nodes:
        return None
    ((_, whole),) = _totals(connection, "u.project_id, u.execution_id", where, (execution,))
    return {**whole, "nodes": {str(name): each for (_, name), each in nodes}}


def totals(connection: Connection, since: int, until: int, project: str = DEFAULT_PROJECT) -> list[Body]:
    """Return what workflows have used of each model, of calls that began from `since` until before `until`."""
    found = _totals(
        connection,
        "w.name, u.provider, u.model",
        "u.project_id = ? AND u.at >= ? AND u.at < ?",
        (project, since, until),
        "LEFT JOIN workflow w ON w.id = u.workflow_id",
    )
    return [
        {"workflow": workflow, "provider": provider, "model": model, **each}
        for (workflow, provider, model), each in found
    ]


def _totals(
    connection: Connection, group: str, where: str, values: tuple[object, ...], join: str = ""
) -> list[tuple[tuple[Any, ...], Body]]:
    rows = connection.run(_TOTALS.format(group=group, where=where, join=join), values)
    keys = group.count(",") + 1
    return [(row[:keys], _sum(row[keys:])) for row in rows]


def _sum(row: tuple[Any, ...]) -> Body:
    calls, given, taken, cached, cost, open_, unpriced = (None if each is None else int(each) for each in row)
    body: Body = {
        "calls": calls,
        "input_tokens": given,
        "output_tokens": taken,
        "cached_tokens": cached,
        "cost_usd": dollars(cost),
    }
    notes: Body = {"unsettled": open_, "without_price": unpriced}
    return body | {name: count for name, count in notes.items() if count}


def _shown(budget: Budget, name: str | None) -> Body:
    return {
        "scope": PROJECT if budget.scope == PROJECT else f"workflow:{name}",
        "period": budget.period,
        "since": budget.since,
        "usd": dollars(budget.most_cost),
        "tokens": budget.most_tokens,
        "spent_usd": dollars(budget.cost),
        "spent_tokens": budget.tokens,
    }


def _checked(given: Mapping[str, Json]) -> tuple[Period, int | None, int | None]:
    usd, tokens, period = given.get("usd"), given.get("tokens"), given.get("period", "month")
    if period not in PERIODS:
        raise BudgetInvalid("`period` is none of day, month and total.")
    if usd is None and tokens is None:
        raise BudgetInvalid("A budget needs `usd`, `tokens` or both.")
    if usd is not None and (
        isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 <= usd <= LARGEST
    ):
        raise BudgetInvalid("`usd` is a number of dollars.")
    if tokens is not None and (
        isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= 10**15
    ):
        raise BudgetInvalid("`tokens` is a whole number.")
    return cast("Period", period), None if usd is None else round(usd * DOLLAR), tokens


def _set(
    connection: Connection,
    project: str,
    key: str,
    workflow: str | None,
    period: Period,
    most_cost: int | None,
    most_tokens: int | None,
    now: int,
) -> Budget:
    since = begin_of(period, now)
    if workflow is None:
        rows = connection.run(_SPENT, (project, since))
    else:
        rows = connection.run(f"{_SPENT} AND workflow_id = ?", (project, since, workflow))
    ((cost, tokens),) = rows
    connection.run(_SET, (project, key, period, most_cost, most_tokens, since, int(cost), int(tokens)))
    return Budget(key, period, most_cost, most_tokens, since, int(cost), int(tokens))


def _scope(connection: Connection, scope: str, project: str) -> tuple[str, str | None]:
    """Return the key of a budget, and its workflow."""
    if scope == PROJECT:
        return PROJECT, None
    reference = scope.removeprefix("workflow:")
    rows = connection.run(_WORKFLOW, (project, reference, reference))
    if not rows:
        message = f"There is no workflow {reference!r}."
        raise NotFound(message, hint="celeriac workflows list shows what there is.")
    return f"workflow:{rows[0][0]}", str(rows[0][0])
