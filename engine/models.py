"""The models there are: those that everybody knows, with their public prices, and those that a deployment has entered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from celeriac import Json
from celeriac.usage import Model
from engine.errors import Invalid, NotFound
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection

PROVIDERS: Final = ("openai", "anthropic", "local")
LONGEST: Final = 200
"""Characters of a model's name."""

_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:/@+-]{{0,{LONGEST - 1}}}")
_PRICES = ("input_cost_per_1k_tokens", "output_cost_per_1k_tokens")
_KEYS = ("name", "provider", "model", "connection", *_PRICES, "max_tokens", "capabilities")
DEFAULT: Final = "default"
"""The name that stands for the project's `default_model`, unless a model was entered under it."""

_DEFAULT = "SELECT settings FROM project WHERE id = ?"
_FIND = "SELECT body FROM model WHERE project_id = ? AND id = ?"
_OWN = "SELECT id, body FROM model WHERE project_id = ? ORDER BY id"
_SAVE = (
    "INSERT INTO model (project_id, id, body, updated_at) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (project_id, id) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at"
)
_REMOVE = "DELETE FROM model WHERE project_id = ? AND id = ? RETURNING id"

Body = dict[str, Json]


class ModelInvalid(Invalid):
    """The model cannot be entered like this."""

    code = "model.invalid"


def find(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> Model | None:
    """Return a model that the deployment has entered under this name, or the project's default one."""
    rows = connection.run(_FIND, (project, name))
    if not rows and name == DEFAULT:
        ((settings,),) = connection.run(_DEFAULT, (project,))
        chosen = json.loads(settings).get("default_model")
        if chosen in (None, DEFAULT):
            return None
        return find(connection, chosen, project) or Model(chosen, None, chosen)
    if not rows:
        return None
    body = json.loads(rows[0][0])
    return Model(name, body["provider"], body["model"], body.get("connection"))


def listing(
    connection: Connection, project: str = DEFAULT_PROJECT, *, now: int, every: bool = False
) -> list[Body]:
    """Return the models a deployment has entered and those of this machine; with `every` also all that are known."""
    own = [_shown(name, json.loads(body), own=True) for name, body in connection.run(_OWN, (project,))]
    taken = {each["id"] for each in own}
    others = [*_LOCAL, *(_known(now) if every else ())]
    return [*own, *(each for each in others if each["id"] not in taken)]


def save(
    name: str, given: Mapping[str, Json], now: int, project: str = DEFAULT_PROJECT
) -> tuple[Body, Callable[[Connection], None]]:
    """Return a model as it is shown, and the change that enters it. Raises `ModelInvalid`."""
    body = checked(name, given)
    row = (project, name, json.dumps(body), now)

    def change(connection: Connection) -> None:
        connection.run(_SAVE, row)

    return _shown(name, body, own=True), change


def remove(name: str, project: str = DEFAULT_PROJECT) -> Callable[[Connection], None]:
    """Return the change that forgets a model. It raises `NotFound`."""

    def change(connection: Connection) -> None:
        if not connection.run(_REMOVE, (project, name)):
            message = f"No model {name!r} was entered."
            raise NotFound(message, hint="celeriac models list shows what there is.")

    return change


def checked(name: str, given: Mapping[str, Json]) -> dict[str, Any]:
    """Return what is stored of a model. Raises `ModelInvalid`."""
    if not _ID.fullmatch(name):
        raise ModelInvalid(
            f"{name[:LONGEST]!r} is no name for a model.", hint="Letters, digits and . _ : / @ + -."
        )
    if unknown := [each for each in given if each not in _KEYS]:
        raise ModelInvalid(f"A model has no {unknown[0]!r}.", hint=f"It has {', '.join(_KEYS)}.")
    provider = given.get("provider")
    if provider not in PROVIDERS:
        raise ModelInvalid("`provider` is needed.", hint=f"It is one of {', '.join(PROVIDERS)}.")
    body: dict[str, Any] = {"provider": provider, "model": given.get("model", name)}
    for key in ("name", "connection", "model"):
        if given.get(key) is not None:
            body[key] = given[key]
        if not isinstance(body.get(key, "x"), str) or not body.get(key, "x"):
            raise ModelInvalid(f"`{key}` is a text.")
    prices = [given.get(key) for key in _PRICES]
    if prices != [None, None]:
        if not all(
            isinstance(each, int | float) and not isinstance(each, bool) and 0 <= each < 1e6
            for each in prices
        ):
            raise ModelInvalid(
                f"{_PRICES[0]} and {_PRICES[1]} are both numbers of dollars, or neither is there."
            )
        body |= dict(zip(_PRICES, prices, strict=True))
    most, able = given.get("max_tokens"), given.get("capabilities", [])
    if most is not None:
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise ModelInvalid("`max_tokens` is a whole number above 0.")
        body["max_tokens"] = most
    if not isinstance(able, list) or not all(isinstance(each, str) for each in able):
        raise ModelInvalid("`capabilities` is a list of words.")
    return {**body, "capabilities": able}


def _shown(name: str, body: Mapping[str, Any], *, own: bool) -> Body:
    prices = {key: body[key] for key in _PRICES if key in body}
    dearest = max((Decimal(str(each)) for each in prices.values()), default=None)
    return {
        "id": name,
        "name": body.get("name", name),
        "provider": body["provider"],
        "model": body["model"],
        "connection": body.get("connection") or body["provider"],
        "cost_per_1k_tokens": None if dearest is None else float(dearest),
        **prices,
        "max_tokens": body.get("max_tokens"),
        "capabilities": body.get("capabilities", []),
        "own": own,
    }


_FREE = dict.fromkeys(_PRICES, 0)
_LOCAL: Final = (
    _shown(
        "local/smollm2",
        {
            "name": "SmolLM2 135M Instruct",
            "provider": "local",
            "model": "smollm2",
            **_FREE,
            "max_tokens": 8192,
            "capabilities": ["chat"],
        },
        own=False,
    ),
    _shown(
        "local/minilm",
        {
            "name": "all-MiniLM-L6-v2",
            "provider": "local",
            "model": "minilm",
            **_FREE,
            "max_tokens": 256,
            "capabilities": ["embed"],
        },
        own=False,
    ),
)


def _known(now: int) -> Iterator[Body]:
    """Yield the models on the public price lists of the providers that can be asked."""
    from genai_prices.data_snapshot import get_snapshot

    moment = datetime.fromtimestamp(now / 1000, UTC)
    for provider in get_snapshot().providers:
        if provider.id not in PROVIDERS:
            continue
        for model in provider.models:
            prices = model.get_prices(moment)
            given, taken = (_per_thousand(getattr(prices, f"{each}_mtok")) for each in ("input", "output"))
            if given is None:
                continue
            body = {
                "name": model.name or model.id,
                "provider": provider.id,
                "model": model.id,
                _PRICES[0]: given,
                _PRICES[1]: taken or 0,
                "max_tokens": model.context_window,
                "capabilities": ["embed" if taken is None else "chat"],
            }
            yield _shown(model.id, body, own=False)


def _per_thousand(price: Any) -> float | None:
    """Return the price of a thousand tokens: of prices that rise with the size of a request, the first."""
    base = getattr(price, "base", price)
    return None if base is None else float(Decimal(str(base)) / 1000)
