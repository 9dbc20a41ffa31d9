"""One command to Redis or Valkey, of those that are about data, and can neither block a server nor administer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, WithJsonSchema

from celeriac import Context, Effect, Json, Retry, TryAgain, Uncertain, files, node
from celeriac.contract import LITERAL
from nodes.connections.redis import Redis, conversation, refusal
from nodes.databases.resp import Broken, Refused, Reply

Reading = Literal[
    "EXISTS", "GET", "GETRANGE", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HVALS", "LINDEX", "LLEN", "LRANGE",
    "MGET", "PTTL", "SCARD", "SISMEMBER", "SMEMBERS", "STRLEN", "TTL", "TYPE", "XLEN", "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT",
    "ZRANGE", "ZRANK", "ZSCORE",
]  # fmt: skip
Repeatable = Literal[
    "DEL", "EXPIRE", "EXPIREAT", "HDEL", "HSET", "MSET", "PERSIST", "PEXPIRE", "SADD", "SET", "SETEX", "SREM", "UNLINK", "ZADD",
    "ZREM",
]  # fmt: skip
Single = Literal[
    "APPEND", "DECR", "DECRBY", "GETDEL", "GETSET", "HINCRBY", "HINCRBYFLOAT", "HSETNX", "INCR", "INCRBY", "INCRBYFLOAT", "LPOP",
    "LPUSH", "LREM", "LTRIM", "PUBLISH", "RPOP", "RPUSH", "SETNX", "SPOP", "XADD", "ZINCRBY",
]  # fmt: skip
COMMANDS = (*get_args(Reading), *get_args(Repeatable), *get_args(Single))
_CONDITIONS = frozenset({"NX", "XX", "GT", "LT", "GET", "INCR", "CH", "IFEQ"})
"""What makes a second time come to something else."""


class Config(BaseModel, extra="forbid"):
    """Which command, and on what."""

    command: Annotated[
        Reading | Repeatable | Single,
        WithJsonSchema({"type": "string", "enum": sorted(COMMANDS), LITERAL: True}),
    ] = Field(description="The command. It holds no expression.")
    arguments: list[str | int | float] = Field(
        [], description="What follows it: keys, values, options.", max_length=1_000
    )
    timeout: float = Field(10.0, description="Seconds it may take.", gt=0, le=300)
    connection: str = Field("redis", description="The connection to the server, of the kind redis.")


def effect(config: Mapping[str, Any]) -> Effect:
    """Return what a command does to the world, from the config as it is written."""
    command, arguments = config.get("command"), config.get("arguments", [])
    if command in get_args(Reading):
        return Effect.READ
    options = arguments[2:] if isinstance(arguments, list) else ["{{"]
    certain = not any(str(each).upper() in _CONDITIONS or "{{" in str(each) for each in options)
    plain = command not in ("SET", "ZADD", "EXPIRE", "PEXPIRE", "EXPIREAT") or certain
    return Effect.KEYED if command in get_args(Repeatable) and plain else Effect.ONCE


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["value"],
    "properties": {
        "value": {"description": "What the server said: text, a number, a list, an object or null."}
    },
    "additionalProperties": False,
}


@node("redis_command", effect=effect, retry=Retry(3, delay=0.5, on=(TryAgain,)), timeout=320.0, output=OUTPUT)
async def redis_command(config: Config, ctx: Context) -> Json:
    """Ask Redis or Valkey, or tell it something."""
    link = await ctx.connect(config.connection, "redis")
    fields: Redis = link.fields
    doing = effect(config.model_dump())
    async with conversation(fields, link, config.timeout) as opened:
        try:
            said = await opened.ask(config.command, *config.arguments)
        except Refused as error:
            raise refusal(error, fields.host) from error
        except Broken as error:
            raise _lost(fields.host, config.command, doing, error) from error
    return {"value": _value(said, config.command)}


def _lost(host: str, command: str, doing: Effect, error: Broken) -> TryAgain | Uncertain:
    if doing is Effect.ONCE:
        return Uncertain(
            "effect.uncertain",
            f"{command} was sent to {host}, and its answer got lost. Nobody knows whether the server did it.",
        )
    return TryAgain("redis.again", f"{host} gave no answer to {command}: {error}")


def _value(said: Reply, command: str) -> Json:
    if command == "HGETALL" and isinstance(said, list):
        return {str(_plain(key)): _plain(each) for key, each in zip(said[::2], said[1::2], strict=True)}
    return _plain(said)


def _plain(said: Reply) -> Json:
    if isinstance(said, list):
        return [_plain(each) for each in said]
    if not isinstance(said, bytes):
        return said
    try:
        text = said.decode()
    except UnicodeDecodeError:
        text = "\0"
    return files.file_of(said, None) if "\0" in text else text
