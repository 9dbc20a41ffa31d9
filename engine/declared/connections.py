"""A connection kind made of a declaration: its fields, the hosts it is bound to, what its requests carry, and its test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from celeriac import Carried, ConnectionType, Fail, Json, Link, exchange
from celeriac.contract import Effect
from engine import expressions
from engine.declared.models import model_of, values_of
from engine.expressions import Scope, derived_entropy


def connection_type_of(declared: Mapping[str, Any]) -> ConnectionType:
    """Return the connection kind. The declaration fits its schema; raises `ExpressionError` for an expression that is none."""
    name = declared["connection_kind"]
    carry = expressions.compile_value(declared.get("carry", {}))
    hosts = expressions.compile_value(declared["hosts"])
    asking = {key: each for key, each in declared.get("test", {}).items() if key not in ("success", "says")}
    test = expressions.compile_value(asking) if asking else None
    success = expressions.compile_value(declared.get("test", {}).get("success", True))
    says = expressions.compile_value(declared.get("test", {}).get("says", "It works."))

    def bound_to(fields: BaseModel) -> list[str]:
        return [_host(str(each)) for each in cast("list[Json]", hosts.render(_scope(_public(fields))))]

    def carried(fields: BaseModel) -> Carried:
        values = cast("dict[str, Any]", carry.render(_scope(_everything(fields))))
        return Carried(values.get("headers", {}), values.get("query", {}), values.get("prefix", ""))

    async def try_it(fields: BaseModel, link: Link) -> str:
        if test is None:
            raise Fail("connection.no_test", f"There is no way to test a connection of the kind {name}.")
        asked = cast("dict[str, Any]", test.render(_scope(_public(fields))))
        request = link.http.build_request(asked.get("method", "GET"), asked["url"], json=asked.get("json"))
        response = await exchange.send(link.http, request, Effect.READ, 30.0)
        body = exchange.body_of(response) if exchange.succeeded(response.status_code) else None
        scope = _scope({"status": response.status_code, "body": body})
        if not exchange.succeeded(response.status_code) or success.render(scope) is not True:
            said = exchange.excerpt(response)
            raise Fail("connection.refused", f"It was answered {response.status_code}: {said}")
        found = says.render(scope)
        return found if isinstance(found, str) else json.dumps(found)

    return ConnectionType(
        name=name,
        summary=declared["summary"],
        fields=model_of(name, declared["fields"], secrets=True),
        hosts=bound_to,
        carry=carried,
        log_in=None,
        test=try_it,
    )


def _scope(values: Mapping[str, Json]) -> Scope:
    return Scope(values, derived_entropy(b"", 0))


def _public(fields: BaseModel) -> dict[str, Json]:
    found = values_of(fields)
    return {"fields": {name: each for name, each in found.items() if not isinstance(each, SecretStr)}}


def _everything(fields: BaseModel) -> dict[str, Json]:
    """Return the fields with the secrets in the clear: for what is carried, and for nothing else."""
    found = values_of(fields)
    return {
        "fields": {
            name: each.get_secret_value() if isinstance(each, SecretStr) else each
            for name, each in found.items()
        }
    }


def _host(text: str) -> str:
    """Return the host of an address, with its port if it is not the scheme's own; another text as it is."""
    if "://" not in text:
        return text
    parts = urlsplit(text)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return host if port is None else f"{host}:{port}"
