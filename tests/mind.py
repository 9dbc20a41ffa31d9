"""A model's server, of the shape of OpenAI's, whose answers fit whatever is asked for: words, data, uses of tools, vectors.

It is for what has to run with any model: a test that uses it asserts the shape of what comes, and no wording.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.loopback import Asked, answer
from tests.models import chat, embeddings, meaning, wants

WORDS = "All is well. Nothing is left to be done."


async def think(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answer one question."""
    body = json.loads(asked.body)
    if asked.target.endswith("/embeddings"):
        writer.write(embeddings(*map(meaning, body["input"])))
    elif asked.target.endswith("/chat/completions"):
        writer.write(_chat(body))
    else:
        writer.write(answer("{}", status="404 Not Found"))


def _chat(body: dict[str, Any]) -> bytes:
    """Use each tool once, in the order in which they are offered; then say something, in the shape that is asked for."""
    tools = body.get("tools", [])
    turn = sum(each["role"] == "assistant" for each in body["messages"])
    if turn < len(tools) and body.get("tool_choice") != "none":
        tool = tools[turn]["function"]
        return wants((tool["name"], fitting(tool["parameters"])))
    if "response_format" in body:
        return chat(json.dumps(fitting(body["response_format"]["json_schema"]["schema"])))
    return chat(WORDS)


def fitting(schema: dict[str, Any]) -> Any:
    """Return a value that fits a schema of the simple kind that workflows ask for."""
    for known in ("examples", "enum"):
        if known in schema:
            return schema[known][0]
    if "const" in schema:
        return schema["const"]
    types = schema.get("type", "object")
    match types if isinstance(types, str) else next(each for each in types if each != "null"):
        case "object":
            return {name: fitting(each) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [fitting(schema.get("items", {"type": "string"}))] * max(1, schema.get("minItems", 1))
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    return "something"
