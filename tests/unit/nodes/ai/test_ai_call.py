from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import Effect, Json
from celeriac.testing import Outcome, Paid, run_node
from celeriac.usage import Model, Usage
from engine.outside.egress import OpenLink
from nodes.ai.ai_call import ai_call
from tests.loopback import Handler, Server, always, answer, serving
from tests.models import chat, message

Link = Callable[[Server], OpenLink]


async def call(
    link: Link, handler: Handler, provider: str = "openai", **config: Json
) -> tuple[Outcome, Server]:
    """What a call comes to when its only server answers like this."""
    async with serving(handler) as server:
        named: dict[str, Json] = {"model": {"openai": "gpt-4", "anthropic": "claude-opus-5-5"}[provider]}
        if "messages" not in config:
            named["prompt"] = "Summarize: hello"
        outcome = await run_node(ai_call, named | config, connections={provider: link(server)})
        return outcome, server


def refused(status: str, body: Json, **headers: str) -> Handler:
    return always(answer(json.dumps(body), status, Content_Type="application/json", **headers))


def said(error_type: str, text: str = "said", **more: Json) -> Json:
    return {"type": "error", "error": {"type": error_type, "message": text, **more}}


def test_a_call_only_reads() -> None:
    assert ai_call.effect_of({"model": "gpt-4", "prompt": "x"}) is Effect.READ


async def test_the_form_of_a_model_and_a_prompt_asks_openai(link: Link) -> None:
    outcome, server = await call(link, always(chat("A greeting.")))
    assert outcome.value == {"text": "A greeting.", "model": "gpt-4-0613", "finish": "stop", "tool_calls": []}
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("POST", "/v1/chat/completions")
    assert asked.headers["authorization"] == "Bearer sk-test-key"
    assert json.loads(asked.body) == {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "Summarize: hello"}],
        "max_tokens": 1024,
    }


async def test_what_a_call_used_is_told(link: Link) -> None:
    outcome, _ = await call(link, always(chat("Hi", prompt_tokens=12, completion_tokens=3)))
    assert outcome.paid == (Paid("127.0.0.1", "gpt-4", Usage(12, 3)),)


async def test_a_claude_is_asked_with_messages(link: Link) -> None:
    handler = always(message([{"type": "text", "text": "A greeting."}]))
    outcome, server = await call(link, handler, "anthropic", system="Be short.", max_tokens=50)
    assert isinstance(outcome.value, dict)
    assert (outcome.value["text"], outcome.value["finish"]) == ("A greeting.", "stop")
    (asked,) = server.asked
    assert asked.target == "/v1/messages"
    assert asked.headers["anthropic-version"] == "2026-10-21"
    assert json.loads(asked.body) == {
        "model": "claude-opus-5-5",
        "max_tokens": 50,
        "system": "Be short.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Summarize: hello"}]}],
    }


async def test_a_conversation_goes_along_as_it_was(link: Link) -> None:
    turns: list[Json] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "name": "weather", "arguments": {"city": "Paris"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": {"sky": "blue"}},
    ]
    tools: list[Json] = [{"name": "weather", "parameters": {"type": "object", "properties": {}}}]
    _, server = await call(link, always(chat("Blue.")), messages=turns, tools=tools, system="Be short.")
    body = json.loads(server.asked[0].body)
    assert body["messages"] == [
        {"role": "system", "content": "Be short.\n\nBe kind."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"sky": "blue"}'},
    ]
    assert body["tool_choice"] == "auto"


async def test_tools_that_are_wanted_are_handed_on(link: Link) -> None:
    wanted = {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
    }
    tools: list[Json] = [{"name": "weather"}]
    outcome, _ = await call(link, always(chat(None, "tool_calls", tool_calls=[wanted])), tools=tools)
    assert isinstance(outcome.value, dict)
    assert outcome.value["finish"] == "tools"
    assert outcome.value["tool_calls"] == [{"id": "c1", "name": "weather", "arguments": {"city": "Rome"}}]


async def test_pictures_go_with_the_prompt(link: Link) -> None:
    pictures: list[Json] = [{"base64": "aGk=", "media_type": "image/png"}]
    _, server = await call(link, always(chat("A picture.")), images=pictures)
    assert json.loads(server.asked[0].body)["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "text", "text": "Summarize: hello"},
    ]


async def test_a_prompt_that_is_no_text_is_written_as_json(link: Link) -> None:
    _, server = await call(link, always(chat("Hi")), prompt={"a": ["ü"]})
    assert json.loads(server.asked[0].body)["messages"][0]["content"] == '{"a": ["ü"]}'


# Refusals, as the vendors document them


@pytest.mark.parametrize(
    ("provider", "status", "body", "kind", "code"),
    [
        ("openai", "400 Bad Request", said("invalid_request_error"), "failed", "ai.invalid_request"),
        (
            "openai",
            "401 Unauthorized",
            said("invalid_request_error", code="invalid_api_key"),
            "failed",
            "ai.unauthorized",
        ),
        ("openai", "403 Forbidden", said("x"), "failed", "ai.unauthorized"),
        ("openai", "404 Not Found", said("x", code="model_not_found"), "failed", "ai.unknown_model"),
        ("openai", "422 Unprocessable Entity", said("x"), "failed", "ai.invalid_request"),
        (
            "openai",
            "429 Too Many Requests",
            said("requests", code="rate_limit_exceeded"),
            "try_again",
            "ai.rate_limited",
        ),
        (
            "openai",
            "429 Too Many Requests",
            said("insufficient_quota", code="credit_balance_exhausted"),
            "failed",
            "ai.quota",
        ),
        ("openai", "429 Too Many Requests", said("insufficient_quota"), "failed", "ai.quota"),
        ("openai", "500 Internal Server Error", said("server_error"), "try_again", "ai.server_error"),
        ("openai", "503 Service Unavailable", said("x", code="slow_down"), "try_again", "ai.overloaded"),
        ("anthropic", "400 Bad Request", said("invalid_request_error"), "failed", "ai.invalid_request"),
        ("anthropic", "401 Unauthorized", said("authentication_error"), "failed", "ai.unauthorized"),
        ("anthropic", "402 Payment Required", said("billing_error"), "failed", "ai.quota"),
        ("anthropic", "403 Forbidden", said("permission_error"), "failed", "ai.unauthorized"),
        ("anthropic", "404 Not Found", said("not_found_error"), "failed", "ai.unknown_model"),
        ("anthropic", "413 Request Too Large", said("request_too_large"), "failed", "ai.too_large"),
        ("anthropic", "429 Too Many Requests", said("rate_limit_error"), "try_again", "ai.rate_limited"),
        (
            "anthropic",
            "429 Too Many Requests",
            said("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}),
            "failed",
            "ai.quota",
        ),
        ("anthropic", "500 Internal Server Error", said("api_error"), "try_again", "ai.server_error"),
        ("anthropic", "504 Gateway Timeout", said("timeout_error"), "try_again", "ai.server_error"),
        ("anthropic", "529 Overloaded", said("overloaded_error"), "try_again", "ai.overloaded"),
    ],
)
async def test_a_refusal_has_its_code_and_costs_nothing(
    link: Link, provider: str, status: str, body: Json, kind: str, code: str
) -> None:
    outcome, _ = await call(link, refused(status, body), provider)
    assert (outcome.kind, outcome.code, outcome.paid) == (kind, code, ())
    assert outcome.error is not None
    assert outcome.error.details["said"] == "said"
    assert outcome.error.details["status"] == int(status.split(maxsplit=1)[0])


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"Retry_After": "20"}, 20.0),
        ({"Retry_After": "1.5"}, 1.5),
        ({"Retry_After_Ms": "250", "Retry_After": "1"}, 0.25),
        ({"Retry_After": "Tue, 01 Jan 2030 00:00:30 GMT"}, 30.0),
        ({"Retry_After": "Mon, 31 Dec 2029 23:00:00 GMT"}, 0.0),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-1"}, None),
        ({"Retry_After": "inf"}, None),
        ({"Retry_After": "nan"}, None),
        ({}, None),
    ],
)
async def test_the_time_a_provider_asks_to_wait_is_waited(
    link: Link, headers: dict[str, str], after: float | None
) -> None:
    outcome, _ = await call(link, refused("429 Too Many Requests", said("requests"), **headers))
    assert outcome.error is not None
    assert outcome.error.retry_after == after


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", '"text"', '{"error": "text"}', "{", ""])
async def test_a_refusal_in_any_form_is_told(link: Link, body: str) -> None:
    outcome, _ = await call(link, always(answer(body, "502 Bad Gateway")))
    assert (outcome.kind, outcome.code) == ("try_again", "ai.server_error")


@pytest.mark.parametrize(
    "body",
    [
        "<html></html>",
        "[]",
        "{}",
        '{"choices": []}',
        '{"choices": [{"message": {}}]}',
        '{"choices": [5]}',
        "[",
    ],
)
async def test_what_is_no_answer_is_tried_again_and_counts_with_the_most_it_may_have_cost(
    link: Link, body: str
) -> None:
    outcome, _ = await call(link, always(answer(body)), max_tokens=77)
    assert (outcome.kind, outcome.code) == ("try_again", "ai.invalid_answer")
    (paid,) = outcome.paid
    assert paid.usage.output_tokens == 77
    assert paid.usage.input_tokens > 5


async def test_an_answer_that_got_lost_is_asked_for_again_and_counts(link: Link) -> None:
    async def hang_up(_: Any, writer: Any) -> None:
        writer.transport.abort()

    outcome, _ = await call(link, hang_up)
    assert (outcome.kind, outcome.code) == ("try_again", "ai.unreachable")
    assert len(outcome.paid) == 1


async def test_a_server_that_is_not_there_costs_nothing(link: Link) -> None:
    async with serving(always(answer())) as server:
        client = link(server)
    outcome = await run_node(ai_call, {"model": "gpt-4", "prompt": "x"}, connections={"openai": client})
    assert (outcome.kind, outcome.code, outcome.paid) == ("try_again", "ai.unreachable", ())


async def test_a_model_that_refuses_fails_the_node(link: Link) -> None:
    outcome, _ = await call(link, always(chat(None, refusal="I will not.")))
    assert (outcome.kind, outcome.code) == ("failed", "ai.refused")
    assert len(outcome.paid) == 1


async def test_without_a_connection_nothing_is_asked(link: Link) -> None:
    outcome = await run_node(ai_call, {"model": "gpt-4", "prompt": "x"})
    assert (outcome.kind, outcome.code) == ("failed", "connection.unknown")


# Several models


async def test_the_next_model_is_asked_when_one_does_not_answer(link: Link) -> None:
    async with (
        serving(refused("529 Overloaded", said("overloaded_error"))) as busy,
        serving(always(chat("Hi"))) as idle,
    ):
        outcome = await run_node(
            ai_call,
            {"model": "claude-opus-5-5", "prompt": "x", "fallback": ["gpt-4"]},
            connections={"anthropic": link(busy), "openai": link(idle)},
        )
    assert isinstance(outcome.value, dict)
    assert outcome.value["text"] == "Hi"
    assert [each.fields["code"] for each in outcome.lines] == ["ai.overloaded"]


async def test_a_server_is_asked_by_its_own_connection(link: Link) -> None:
    async with serving(always(chat("Hi"))) as server:
        outcome = await run_node(
            ai_call,
            {"model": "gpt-4", "prompt": "x", "fallback": [{"model": "llama3.2", "connection": "ollama"}]},
            connections={"ollama": link(server)},
        )
    assert outcome.kind == "output"
    assert json.loads(server.asked[0].body)["model"] == "llama3.2"


async def test_a_request_that_one_does_not_understand_is_not_brought_to_the_next(link: Link) -> None:
    async with serving(refused("400 Bad Request", said("x"))) as first, serving(always(chat("Hi"))) as second:
        outcome = await run_node(
            ai_call,
            {"model": "claude-opus-5-5", "prompt": "x", "fallback": ["gpt-4"]},
            connections={"anthropic": link(first), "openai": link(second)},
        )
    assert (outcome.code, second.asked) == ("ai.invalid_request", [])


async def test_when_none_answers_the_one_that_may_later_decides(link: Link) -> None:
    async with (
        serving(refused("401 Unauthorized", said("x"))) as first,
        serving(refused("429 Too Many Requests", said("x"), Retry_After="7")) as second,
    ):
        outcome = await run_node(
            ai_call,
            {"model": "claude-opus-5-5", "prompt": "x", "fallback": ["gpt-4"]},
            connections={"anthropic": link(first), "openai": link(second)},
        )
    assert (outcome.kind, outcome.code) == ("try_again", "ai.rate_limited")
    assert outcome.error is not None
    assert outcome.error.retry_after == 7.0


# Once


async def test_an_answer_in_the_journal_is_neither_asked_for_nor_paid_again(link: Link) -> None:
    outcome, _ = await call(link, always(chat("Hi")))
    again = await run_node(ai_call, {"model": "gpt-4", "prompt": "Summarize: hello"}, steps=outcome.steps)
    assert (again.value, again.paid) == (outcome.value, ())


# Configs that are no questions


@pytest.mark.parametrize(
    "config",
    [
        {"model": "gpt-4"},
        {"model": "", "prompt": "x"},
        {"model": "gpt-4", "prompt": ""},
        {"model": "gpt-4", "prompt": "x", "messages": [{"role": "user", "content": "x"}]},
        {"model": "gpt-4", "messages": []},
        {"model": "gpt-4", "messages": [{"role": "tool", "content": "x"}]},
        {"model": "gpt-4", "messages": [{"role": "user", "content": "x", "tool_call_id": "c"}]},
        {"model": "gpt-4", "messages": [{"role": "assistant", "images": [{"url": "https://x.test/a.png"}]}]},
        {
            "model": "gpt-4",
            "messages": [{"role": "user", "content": "x"}],
            "images": [{"url": "https://x.test/a.png"}],
        },
        {"model": "gpt-4", "prompt": "x", "images": [{}]},
        {"model": "gpt-4", "prompt": "x", "images": [{"base64": "aGk="}]},
        {
            "model": "gpt-4",
            "prompt": "x",
            "images": [{"url": "https://x.test/a.png", "media_type": "image/png"}],
        },
        {"model": "gpt-4", "prompt": "x", "tools": [{"name": "a b"}]},
        {"model": "gpt-4", "prompt": "x", "tools": [{"name": "a"}, {"name": "a"}]},
        {"model": "gpt-4", "prompt": "x", "tool_choice": "a"},
        {"model": "gpt-4", "prompt": "x", "tool_choice": "required"},
        {"model": "gpt-4", "prompt": "x", "timeout": 0},
        {"model": "gpt-4", "prompt": "x", "timeout": "16m"},
        {"model": "gpt-4", "prompt": "x", "temperature": 3},
        {"model": "gpt-4", "prompt": "x", "max_tokens": 0},
    ],
)
async def test_a_config_that_is_no_question_is_refused(config: dict[str, Json]) -> None:
    assert (await run_node(ai_call, config)).code == "node.config_invalid"


@pytest.mark.parametrize(
    ("model", "connection"), [("llama3.2", None), ("openai/", None), ("mystery/x", None)]
)
async def test_a_model_that_nobody_knows_is_refused_with_the_remedy(
    model: str, connection: str | None
) -> None:
    outcome = await run_node(ai_call, {"model": model, "prompt": "x", "connection": connection})
    assert outcome.code == "ai.unknown_model"
    assert outcome.error is not None
    assert "openai, anthropic, local" in outcome.error.message


async def test_without_a_model_the_one_of_the_project_is_asked(link: Link) -> None:
    async with serving(always(chat("Hi"))) as server:
        links = {"openai": link(server)}
        for default in (Model("gpt-4o", None, "gpt-4o"), Model("clever", "openai", "gpt-4o")):
            models = {"default": default}
            outcome = await run_node(ai_call, {"prompt": "x"}, connections=links, models=models)
            assert json.loads(server.asked[-1].body)["model"] == "gpt-4o"
            assert [each.model for each in outcome.paid] == [default.id]
    assert (await run_node(ai_call, {"prompt": "x"})).code == "ai.no_default"
