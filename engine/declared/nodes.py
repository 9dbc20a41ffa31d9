"""A node type made of a declaration: one request, or page after page, and what its answers come to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import jsonschema_rs

from celeriac import Context, Effect, Fail, Json, NodeType, Retry, TryAgain, exchange, forms
from celeriac.connections import Link
from engine import expressions
from engine.declared.models import model_of, values_of
from engine.declared.requests import body_of, path_of, query_of
from engine.expressions import ExpressionError, Scope, derived_entropy
from engine.schema import compiled

if TYPE_CHECKING:
    import httpx2

MOST_ITEMS = 10_000
_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an answer's expressions come to."""

    expect: frozenset[int]
    success: expressions.Compiled | None
    again: expressions.Compiled | None
    after: expressions.Compiled | None
    message: expressions.Compiled | None
    output: expressions.Compiled | None
    strict: jsonschema_rs.Draft202012Validator | None = None

    @classmethod
    def of(cls, declared: Mapping[str, Json], schema: Mapping[str, Any]) -> _Answer:
        names = ("success", "again", "after", "message", "output")
        expect = cast("list[int]", declared.get("expect", []))
        strict = compiled(dict(schema)) if declared.get("strict") else None
        success, again, after, message, output = (_compiled(declared.get(each)) for each in names)
        return cls(frozenset(expect), success, again, after, message, output, strict)

    def is_good(self, status: int, told: Scope) -> bool:
        """Whether an answer is a success."""
        expected = status in self.expect or (not self.expect and exchange.succeeded(status))
        return expected and (self.success is None or self.success.render(told) is True)

    def says(self, told: Scope) -> str:
        """Return what the service says of a failure. Whatever it answered, it is no failure of the declaration."""
        said = _of_anything(self.message, told)
        return said if isinstance(said, str) else "" if said is None else json.dumps(said)


@dataclass(frozen=True, slots=True)
class _Declared:
    """A declaration, compiled."""

    request: expressions.Compiled
    path: str
    key_header: str | None
    answer: _Answer
    items: expressions.Compiled | None
    following: expressions.Compiled | None
    seconds: float
    kinds: tuple[str, ...] = field(default=())


def node_type_of(declared: Mapping[str, Any]) -> NodeType:
    """Return the node type. The declaration fits its schema; raises `ExpressionError` for an expression that is none."""
    name, request = declared["node"], declared["request"]
    made = _Declared(
        request=expressions.compile_value({key: each for key, each in request.items() if key != "path"}),
        path=request.get("path", ""),
        key_header=request.get("key_header"),
        answer=_Answer.of(declared.get("answer", {}), declared.get("output", {})),
        items=_compiled(declared.get("pages", {}).get("items")),
        following=_compiled(declared.get("pages", {}).get("next")),
        seconds=float(declared.get("timeout", _TIMEOUT)),
        kinds=_kinds(declared.get("connection")),
    )
    schema = _config_schema(declared, paged=made.items is not None)
    effect = _effect(declared)

    async def run(config: Any, ctx: Context) -> Json:
        return await _call(made, effect, values_of(config), ctx)

    return NodeType(
        name=name,
        version=declared.get("version", 1),
        summary=declared["summary"],
        config=model_of(name, schema),
        run=run,
        effect=effect,
        ports=("out",),
        queue="default",
        process=False,
        waits=False,
        calls=False,
        foreign=False,
        retry=Retry(3, delay=1.0, on=(TryAgain,)),
        timeout=made.seconds * (20 if made.items is not None else 1) + 10,
        output=_output_schema(declared, paged=made.items is not None),
        decides=None,
    )


async def _call(
    declared: _Declared, effect: Effect | Callable[..., Effect], config: dict[str, Any], ctx: Context
) -> Json:
    name = config.get("connection")
    link = await ctx.connect(name, *declared.kinds) if name is not None else None
    doing = effect if isinstance(effect, Effect) else effect(config)
    values: dict[str, Json] = {
        "config": config,
        "connection": _public(link),
        "key": ctx.idempotency_key,
    }
    entropy = derived_entropy(ctx.idempotency_key.encode(), round(ctx.now().timestamp() * 1000))
    scope = Scope(values, entropy)
    client = ctx.http if link is None else link.http
    rendered = cast("dict[str, Json]", declared.request.render(scope))
    request = _request(declared, rendered, config, client, ctx.idempotency_key, doing)
    if declared.items is None:
        return await _ask(declared, client, request, doing, scope, ctx)
    return await _ask_all(declared, client, request, doing, scope, ctx)


async def _ask(
    declared: _Declared,
    client: httpx2.AsyncClient,
    request: httpx2.Request,
    effect: Effect,
    scope: Scope,
    ctx: Context,
) -> Json:
    """Send one request and return what its answer comes to."""
    response, told = await _answered(declared, client, request, effect, scope, ctx)
    if declared.answer.output is not None:
        result = declared.answer.output.render(told)
    else:
        headers = exchange.headers_of(response)
        result = {"status": response.status_code, "headers": headers, "body": told.values["body"]}
    if declared.answer.strict is not None:
        _check(declared.answer.strict, result, exchange.shown_as(request))
    return result


def _check(schema: jsonschema_rs.Draft202012Validator, result: Json, shown: str) -> None:
    """Raise `Fail` (`http.unexpected_body`) for a result that is not what was declared."""
    error = next(schema.iter_errors(result), None)
    if error is not None:
        place = "/".join(map(str, error.instance_path))
        message = f"{shown} was answered with something else than is declared, at {place or 'its beginning'}."
        raise Fail("http.unexpected_body", message, {"place": place, "reason": str(error.message)[:500]})


async def _ask_all(
    declared: _Declared,
    client: httpx2.AsyncClient,
    request: httpx2.Request,
    effect: Effect,
    scope: Scope,
    ctx: Context,
) -> Json:
    """Ask for page after page until there are as many items as wanted, or no more. Only what reads has pages."""
    assert declared.items is not None  # noqa: S101  asked of such declarations only
    config = cast("dict[str, Json]", scope.values["config"])
    most = int(cast("int", config.get("most") or MOST_ITEMS))
    items: list[Json] = []
    while True:
        _, told = await _answered(declared, client, request, effect, scope, ctx)
        page = declared.items.render(told)
        if not isinstance(page, list):
            raise Fail(
                "http.invalid_body", f"{exchange.shown_as(request)} was answered without a list of items."
            )
        items += page
        following = None if declared.following is None else declared.following.render(told)
        if not following or len(items) >= most:
            return {"items": items[:most], "more": bool(following) or len(items) > most}
        request = _next(client, request, following)


async def _answered(
    declared: _Declared,
    client: httpx2.AsyncClient,
    request: httpx2.Request,
    effect: Effect,
    scope: Scope,
    ctx: Context,
) -> tuple[httpx2.Response, Scope]:
    """Send one request; return its answer, and the scope in which it is spoken of. Raises for what is no success."""
    shown = exchange.shown_as(request)
    response = await exchange.send(client, request, effect, declared.seconds)
    told = scope.with_names(
        {
            "status": response.status_code,
            "headers": exchange.headers_of(response),
            "server_time": exchange.server_time(response, ctx.now()).timestamp(),
            "links": {str(rel): str(each.get("url", "")) for rel, each in response.links.items()},
            "body": _body(response),
        }
    )
    answer = declared.answer
    if answer.is_good(response.status_code, told):
        return response, told
    failure = exchange.refused(response, effect, ctx.now(), shown)
    if exchange.succeeded(response.status_code):
        failure = Fail("http.refused", f"{shown} was refused.", failure.details)
    if said := answer.says(told):
        failure.message = f"{failure.message.rstrip('.')}: {said.rstrip('.')}."
    if _of_anything(answer.again, told) is True:
        after = _of_anything(answer.after, told)
        if not isinstance(after, (int, float)):
            after = exchange.retry_after(response, ctx.now())
        raise TryAgain("http.rate_limited", failure.message, after, failure.details)
    raise failure


def _of_anything(expression: expressions.Compiled | None, told: Scope) -> Json:
    """Return what an expression about a failure comes to; null when the answer is not what the service documents."""
    try:
        return None if expression is None else expression.render(told)
    except ExpressionError:
        return None


def _body(response: httpx2.Response) -> Json:
    """Return the body; of an answer that is a failure already, whatever can be made of it."""
    try:
        return exchange.body_of(response)
    except Fail:
        if exchange.succeeded(response.status_code):
            raise
        return exchange.excerpt(response)


def _request(
    declared: _Declared,
    rendered: Mapping[str, Json],
    config: Mapping[str, Json],
    client: httpx2.AsyncClient,
    key: str,
    effect: Effect,
) -> httpx2.Request:
    import httpx2

    content, media_type = body_of(rendered)
    headers = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in cast("dict[str, Json]", forms.without_nulls(rendered.get("headers") or {})).items()
    }
    if media_type is not None:
        headers.setdefault("Content-Type", media_type)
    if declared.key_header is not None and effect is Effect.KEYED:
        headers[declared.key_header] = key
    base = str(rendered["base"]).rstrip("/")
    try:
        url = httpx2.URL(base + path_of(declared.path, config))
        query = query_of(cast("dict[str, Json]", rendered.get("query") or {}))
        if query:
            url = url.copy_merge_params(query)
        return client.build_request(
            str(rendered["method"]), url, content=content, headers=headers, timeout=declared.seconds
        )
    except (httpx2.InvalidURL, ValueError) as error:
        raise Fail("http.invalid_request", f"The request cannot be built: {error}") from error


def _next(client: httpx2.AsyncClient, request: httpx2.Request, following: Json) -> httpx2.Request:
    """Return the request for the next page: at another address, or with other parameters."""
    import httpx2

    try:
        if isinstance(following, str):
            url = request.url.join(following)
        elif isinstance(following, dict):
            url = request.url.copy_merge_params(query_of(following))
        else:
            raise Fail("http.invalid_body", "The next page is named by neither an address nor parameters.")
    except httpx2.InvalidURL as error:
        raise Fail("http.invalid_body", f"The next page's address is none: {error}") from error
    return client.build_request(
        request.method, url, headers=request.headers, timeout=request.extensions["timeout"]["read"]
    )


def _public(link: Link | None) -> Json:
    """Return what expressions may see of a connection: no secret."""
    if link is None or link.fields is None:
        return {}
    from pydantic import SecretStr

    values = values_of(link.fields)
    return {name: each for name, each in values.items() if not isinstance(each, SecretStr)}


def _kinds(connection: object) -> tuple[str, ...]:
    if connection is None:
        return ()
    return (connection,) if isinstance(connection, str) else tuple(cast("list[str]", connection))


def _compiled(value: Json) -> expressions.Compiled | None:
    return None if value is None else expressions.compile_value(value)


def _config_schema(declared: Mapping[str, Any], *, paged: bool) -> dict[str, Any]:
    """Return the schema of the config: what is declared, the connection, and how many items are wanted."""
    schema = declared.get("config", {})
    properties = dict(schema.get("properties", {}))
    required = list(schema.get("required", ()))
    kinds = _kinds(declared.get("connection"))
    if kinds:
        words = f"The connection, of the kind {' or '.join(kinds)}."
        properties["connection"] = {"type": "string", "description": words, "default": kinds[0]}
    elif "connection" not in properties:
        words = "The connection that holds the credential."
        properties["connection"] = {"type": ["string", "null"], "description": words, "default": None}
    if paged:
        words = f"How many items at most; pages are asked for until then. At most {MOST_ITEMS:,}."
        properties["most"] = {
            "type": "integer",
            "description": words,
            "default": 100,
            "minimum": 1,
            "maximum": MOST_ITEMS,
        }
    return {**schema, "properties": properties, "required": required}


def _output_schema(declared: Mapping[str, Any], *, paged: bool) -> dict[str, Json]:
    schema: dict[str, Json] | None = declared.get("output")
    if paged:
        return {
            "type": "object",
            "required": ["items", "more"],
            "properties": {
                "items": {"type": "array", **({"items": schema} if schema else {})},
                "more": {"type": "boolean", "description": "Whether there are more than were wanted."},
            },
            "additionalProperties": False,
        }
    if schema is not None:
        return schema
    body: dict[str, Json] = {"description": "What was answered."}
    return {
        "type": "object",
        "required": ["status", "headers", "body"],
        "properties": {"status": {"type": "integer"}, "headers": {"type": "object"}, "body": body},
        "additionalProperties": False,
    }


def _effect(declared: Mapping[str, Any]) -> Effect | Callable[[Mapping[str, Json]], Effect]:
    """Return the effect: as declared, else by the method, which the config may choose."""
    if "effect" in declared:
        return Effect(declared["effect"])
    method: str = declared["request"]["method"]
    keyed = declared["request"].get("key_header") is not None
    if "{" not in method:
        return _by_method(method, keyed=keyed)
    properties = declared.get("config", {}).get("properties", {})
    chosen = method.removeprefix("{{ config.").removesuffix(" }}")
    default = properties.get(chosen, {}).get("default")

    def effect(config: Mapping[str, Json]) -> Effect:
        return _by_method(str(config.get(chosen, default)), keyed=keyed)

    return effect


def _by_method(method: str, *, keyed: bool) -> Effect:
    if method in exchange.READING:
        return Effect.READ
    if method in exchange.REPEATABLE or (keyed and "{" not in method):
        return Effect.KEYED
    return Effect.ONCE
