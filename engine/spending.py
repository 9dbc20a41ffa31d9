"""What calls of models use, noted before and after each, and budgets, which are asked before.

A call is a row of its own from before it begins. Until it is known what it used the row says what it may use at most, and so
it does for ever when its process dies: it may have been paid for. Budgets count rows as they are; so they are kept even when
many calls are under way at once, as far as the estimates hold.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Final, Literal, TypeVar

from celeriac import Fail, Json, OnDecision, Uncertain
from celeriac.usage import Model, Usage
from engine import models
from engine.definition import Allowance
from engine.inquiries import approved, question
from engine.inside import YEAR, ended
from engine.performance import CallsInside, Run, Services
from engine.prices import DOLLAR, cost, dollars
from engine.programs import Programs
from engine.snapshots import Facts
from engine.store.database import Connection

T = TypeVar("T")

Period = Literal["day", "month", "total"]
PROJECT: Final = "project"
"""The scope of a budget that holds for everything in a project."""

_MODEL: Final = "SELECT body FROM model WHERE project_id = ? AND id = ?"
_BUDGETS: Final = (
    "SELECT scope, period, most_cost, most_tokens, since, cost, tokens FROM budget "
    "WHERE project_id = ? AND scope IN ({}) ORDER BY scope"
)
_ALLOW: Final = (
    "INSERT INTO budget (project_id, scope, period, most_cost, most_tokens, since, cost, tokens) "
    "VALUES (?, ?, 'total', ?, ?, 0, 0, 0) ON CONFLICT (project_id, scope) DO NOTHING"
)
_AROUND: Final = (
    "WITH RECURSIVE around (id, version_id, parent) AS (SELECT e.id, e.version_id, e.parent_execution FROM execution e "
    "WHERE e.id = ? UNION ALL SELECT e.id, e.version_id, e.parent_execution FROM around a "
    "JOIN execution e ON e.id = a.parent) SELECT id, version_id FROM around WHERE id <> ?"
)
"""The executions that have called this one, directly or not."""
_SPEND: Final = "UPDATE budget SET since = ?, cost = ?, tokens = ? WHERE project_id = ? AND scope = ?"
_RAISED: Final = "SELECT most_cost, most_tokens, raised FROM budget WHERE project_id = ? AND scope = ?"
_RAISE: Final = (
    "UPDATE budget SET most_cost = ?, most_tokens = ?, raised = ? WHERE project_id = ? AND scope = ?"
)
_BEGIN: Final = (
    "INSERT INTO usage (id, project_id, workflow_id, execution_id, node, item, provider, model, input_tokens, "
    "output_tokens, cached_tokens, cost, settled, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"
)
_SETTLE: Final = "UPDATE usage SET input_tokens = ?, output_tokens = ?, cached_tokens = ?, cost = ?, settled = 1 WHERE id = ?"
_FORGET: Final = "DELETE FROM usage WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent under a scope within a period, and how much has been since that began."""

    scope: str
    period: Period
    most_cost: int | None
    most_tokens: int | None
    since: int
    cost: int
    tokens: int

    def at(self, now: int) -> Budget:
        """Return it in the period of `now`: another period begins with nothing spent."""
        since = begin_of(self.period, now)
        if since <= self.since:
            return self
        return Budget(self.scope, self.period, self.most_cost, self.most_tokens, since, 0, 0)

    def allows(self, cost: int | None, tokens: int) -> bool:
        """Whether so much more may be spent. What nobody knows the price of is not paid from a budget of money."""
        if self.most_cost is not None and (cost is None or self.cost + cost > self.most_cost):
            return False
        return self.most_tokens is None or self.tokens + tokens <= self.most_tokens


@dataclass(frozen=True, slots=True)
class Payer:
    """Who calls a model: its project, workflow, execution, node and item; and what these may spend, by scope."""

    project: str
    workflow: str
    execution: str
    node: str
    item: str
    allowances: Mapping[str, Allowance] = field(default_factory=dict)

    @property
    def scopes(self) -> list[str]:
        """The budgets that have to allow it, in the order in which they are locked."""
        return sorted([*self.allowances, PROJECT, f"workflow:{self.workflow}"])


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a model that has begun: what it may cost at most, and since when."""

    id: str
    payer: Payer
    provider: str
    model: str
    most: Usage
    cost: int | None
    at: int
    own: Json


class Purse:
    """Pays for the calls of one node run."""

    def __init__(self, services: Services, run: Run, node: str) -> None:
        self._services = services
        self._run = run
        self._node = node
        self._own: Allowance | None = None

    def allow(self, usd: float | None, tokens: int | None) -> None:
        """Limit what this node run pays for, over all its attempts."""
        self._own = Allowance(usd, tokens)

    async def model(self, name: str) -> Model | None:
        """Return what the deployment has entered of a model."""
        project = self._run.work.facts.project
        return await self._services.reader.read(lambda connection: models.find(connection, name, project))

    async def pay(
        self, provider: str, model: str, most: Usage, call: Callable[[], Awaitable[tuple[T, Usage]]]
    ) -> T:
        """Do a call, and note what it used. Raises `Fail` (`budget.*`) before it begins when no budget has that much left."""
        at, facts, item = self._services, self._run.work.facts, self._run.work.item
        name, now = at.clock.mint("use"), at.clock.now()

        def start(connection: Connection) -> Called | Fail:
            found = allowances(connection, at.programs, facts)
            if self._own is not None:
                found[f"node:{facts.execution}:{self._node}:{item}"] = self._own
            payer = Payer(facts.project, facts.workflow, facts.execution, self._node, item, found)
            return begin(connection, payer, name, provider, model, most, now)

        begun = await self._begun(start)
        try:
            found, used = await call()
        except Uncertain:
            self._tell(begun, most, begun.cost)
            raise
        except Exception:
            await at.ledger.submit(lambda connection: settle(connection, begun, None))
            raise
        paid = await at.ledger.submit(lambda connection: settle(connection, begun, used))
        self._tell(begun, used, paid)
        return found

    def spared(self, provider: str, model: str) -> None:
        """Note a call that was not made: the history says so, and no budget counts it."""
        event: dict[str, Json] = {
            "provider": provider,
            "model": model,
            **Usage().to_json(),
            "cost_usd": 0.0,
            "cached": True,
        }
        self._run.events.append(("node.paid", self._node, self._services.clock.now(), event))

    async def _begun(self, start: Callable[[Connection], Called | Fail]) -> Called:
        """Begin a call, once people have allowed what it takes. Raises `Fail` when nobody is to be asked, or they refuse."""
        while True:
            try:
                begun: Called = await self._services.ledger.submit(start)  # raises what it is answered with
            except Fail as refusal:
                if not await self._is_raised(refusal):
                    raise
            else:
                return begun

    async def _is_raised(self, refusal: Fail) -> bool:
        """Ask people for as much again, if that is what the definition says, and return whether they have agreed.

        The n-th question of a node run is a step of its own: what was decided before a crash is not asked again, and raises the
        budget once.
        """
        facts, past = self._run.work.facts, self._run.work.past
        allowance, scope = facts.program.plan.budget, f"execution:{facts.execution}"
        if allowance is None or not allowance.ask or refusal.details.get("scope") != scope:
            return False
        for number in count(1):
            name = f"budget {number}"
            known = past.get((self._node, name))
            if known is None:
                asked = OnDecision(
                    title=f"May {self._node} of {facts.execution} spend more on models?",
                    description=refusal.message,
                    show={**refusal.details, "more": {"usd": allowance.usd, "tokens": allowance.tokens}},
                )
                raise CallsInside(name, question(asked, None), YEAR)
            if not approved(ended(known)):
                return False
            key = f"{self._node}/{self._run.work.item}/{number}"
            if await self._services.ledger.submit(_raising(facts.project, scope, allowance, key)):
                return True
        raise refusal

    def _tell(self, called: Called, used: Usage, paid: int | None) -> None:
        event: dict[str, Json] = {
            "provider": called.provider,
            "model": called.model,
            **used.to_json(),
            "cost_usd": dollars(paid),
        }
        self._run.events.append(("node.paid", self._node, self._services.clock.now(), event))


def allowances(connection: Connection, programs: Programs, facts: Facts) -> dict[str, Allowance]:
    """Return what an execution may spend, and those that have called it, as far as their definitions say so."""
    around = [(facts.execution, facts.program.plan)]
    if facts.depth:
        rows = connection.run(_AROUND, (facts.execution, facts.execution))
        around += [(name, programs.plan(version, connection)) for name, version in rows]
    return {f"execution:{name}": plan.budget for name, plan in around if plan.budget is not None}


def begin(
    connection: Connection, payer: Payer, name: str, provider: str, model: str, most: Usage, now: int
) -> Called | Fail:
    """Take what a call may cost at most out of the budgets, or return why it may not begin.

    The failure is not raised, since that would undo the other work of the transaction.
    """
    known = connection.run(_MODEL, (payer.project, model))
    own = json.loads(known[0][0]) if known else None
    price = cost(provider, model, most, own)
    for scope, allowance in payer.allowances.items():
        most_cost = None if allowance.usd is None else round(allowance.usd * DOLLAR)
        connection.run(_ALLOW, (payer.project, scope, most_cost, allowance.tokens))
    budgets = [each.at(now) for each in budgets_of(connection, payer)]
    for each in budgets:
        if not each.allows(price, most.tokens):
            return _refusal(each, provider, model, price, most)
    for each in budgets:
        _spend(connection, payer.project, each, price or 0, most.tokens)
    connection.run(
        _BEGIN,
        (
            name,
            payer.project,
            payer.workflow,
            payer.execution,
            payer.node,
            payer.item,
            provider,
            model,
            most.input_tokens,
            most.output_tokens,
            most.cached,
            price,
            now,
        ),
    )
    return Called(name, payer, provider, model, most, price, now, own)


def _raising(project: str, scope: str, allowance: Allowance, key: str) -> Callable[[Connection], bool]:
    return lambda connection: more(connection, project, scope, allowance, key)


def more(connection: Connection, project: str, scope: str, allowance: Allowance, key: str) -> bool:
    """Raise a budget by an allowance, once for each key. Returns whether it was raised now."""
    locked = " FOR UPDATE" if connection.dialect == "postgresql" else ""
    ((cost, tokens, raised),) = connection.run(_RAISED + locked, (project, scope))
    keys = json.loads(raised)
    if key in keys:
        return False
    cost = None if cost is None or allowance.usd is None else cost + round(allowance.usd * DOLLAR)
    tokens = None if tokens is None or allowance.tokens is None else tokens + allowance.tokens
    connection.run(_RAISE, (cost, tokens, json.dumps([*keys, key]), project, scope))
    return True


def settle(connection: Connection, called: Called, used: Usage | None) -> int | None:
    """Note what a call has used, or that it came to nothing, and give the budgets back what it did not."""
    found: int | None = None
    tokens = 0
    if used is None:
        connection.run(_FORGET, (called.id,))
    else:
        own = called.own if isinstance(called.own, dict) else None
        found = cost(called.provider, called.model, used, own)
        row = (used.input_tokens, used.output_tokens, used.cached, found, called.id)
        connection.run(_SETTLE, row)
        tokens = used.tokens
    for each in budgets_of(connection, called.payer):
        if each.since <= called.at:  # else it was taken out of a period that is over
            less = (found or 0) - (called.cost or 0)
            _spend(connection, called.payer.project, each, less, tokens - called.most.tokens)
    return found


def budgets_of(connection: Connection, payer: Payer) -> list[Budget]:
    """Return the budgets that hold for a payer, locked until the end of the transaction."""
    scopes = payer.scopes
    statement = _BUDGETS.format(", ".join("?" * len(scopes)))
    if connection.dialect == "postgresql":
        statement += " FOR UPDATE"
    return [Budget(*row) for row in connection.run(statement, (payer.project, *scopes))]


def begin_of(period: Period, now: int) -> int:
    """Return when the period of a moment began: its day or month in UTC, or never."""
    if period == "total":
        return 0
    moment = datetime.fromtimestamp(now / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((moment if period == "day" else moment.replace(day=1)).timestamp() * 1000)


def _spend(connection: Connection, project: str, budget: Budget, price: int, tokens: int) -> None:
    row = (budget.since, budget.cost + price, budget.tokens + tokens, project, budget.scope)
    connection.run(_SPEND, row)


def _refusal(budget: Budget, provider: str, model: str, price: int | None, most: Usage) -> Fail:
    of = {"day": " for today", "month": " for this month", "total": ""}[budget.period]
    whose = f"The budget of the {budget.scope.partition(':')[0]}{of}"
    details: dict[str, Json] = {"scope": budget.scope, "period": budget.period, "model": model}
    if budget.most_cost is not None and price is None:
        return Fail(
            "budget.price_unknown",
            f"{whose} is in dollars, and nobody knows what {model} of {provider} costs. "
            "Say it with: celeriac models add.",
            details,
        )
    left: dict[str, Json] = {}
    if budget.most_cost is not None:
        left["usd"] = dollars(budget.most_cost - budget.cost)
    if budget.most_tokens is not None:
        left["tokens"] = budget.most_tokens - budget.tokens
    shown = " and ".join(f"{value:g} {name}" for name, value in left.items())
    needs = f"{most.tokens} tokens" + ("" if price is None else f" for {dollars(price):g} usd")
    return Fail(
        "budget.exceeded",
        f"{whose} has {shown} left, and this call of {model} may need {needs}. Raise the budget, or lower max_tokens.",
        {**details, "left": left, "tokens": most.tokens, "usd": dollars(price)},
    )
