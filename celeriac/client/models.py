"""The part of the client that is about models, their budgets, and collections of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Models(Asking):
    """Requests about models, their budgets, and collections of texts."""

    async def models(self, *, every: bool = False) -> list[Body]:
        """Return the models that were entered and those of this machine; with `every` all that are known."""
        query = {"all": "true"} if every else None
        return cast("list[Body]", (await self._ask("GET", "/models", query=query))["data"])

    async def enter_model(self, name: str, model: Mapping[str, Json]) -> Body:
        """Enter a model: `{provider, model?, connection?, ...}`."""
        return await self._ask("PUT", f"/models/{part(name)}", body=dict(model))

    async def forget_model(self, name: str) -> None:
        """Forget a model that was entered."""
        await self._ask("DELETE", f"/models/{part(name)}")

    async def collections(self) -> list[Body]:
        """Return the collections of texts, with how much is in each."""
        return cast("list[Body]", (await self._ask("GET", "/collections"))["data"])

    async def remove_collection(self, name: str) -> None:
        """Remove a collection with all that is in it."""
        await self._ask("DELETE", f"/collections/{part(name)}")

    async def budgets(self) -> list[Body]:
        """Return the budgets, with what has been spent."""
        return cast("list[Body]", (await self._ask("GET", "/budgets"))["data"])

    async def set_budget(self, scope: str, budget: Mapping[str, Json]) -> Body:
        """Set the budget of `project` or of `workflow:NAME`: `{usd?, tokens?, period?}`."""
        return await self._ask("PUT", f"/budgets/{part(scope)}", body=dict(budget))

    async def lift_budget(self, scope: str) -> None:
        """Lift a budget."""
        await self._ask("DELETE", f"/budgets/{part(scope)}")

    async def usage(self, since: int | None = None, until: int | None = None) -> Body:
        """Return what workflows have used of each model, between two times in milliseconds."""
        return await self._ask("GET", "/usage", query={"since": since, "until": until})
