from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import Json
from celeriac.testing import Outcome, run_node
from engine.outside.egress import OpenLink
from nodes.ai.ai_classify import ai_classify
from tests.loopback import Server, always, serving
from tests.models import chat

Link = Callable[[Server], OpenLink]


async def classify(link: Link, *answers: bytes, **config: Json) -> tuple[Outcome, list[Any]]:
    async with serving(always(*answers)) as server:
        asked: dict[str, Json] = {"model": "gpt-4", "text": "It is broken!", "labels": ["bug", "wish"]}
        outcome = await run_node(ai_classify, asked | config, connections={"openai": link(server)})
        return outcome, [json.loads(each.body) for each in server.asked]


async def test_the_label_is_one_of_those_given(link: Link) -> None:
    outcome, (body,) = await classify(link, chat('{"label": "bug"}'))
    assert outcome.value == {"label": "bug", "labels": ["bug"]}
    shape = body["response_format"]["json_schema"]
    assert shape["schema"]["properties"]["label"] == {"type": "string", "enum": ["bug", "wish"]}
    assert shape["strict"] is True


async def test_a_label_that_was_not_given_is_not_taken(link: Link) -> None:
    outcome, asked = await classify(link, chat('{"label": "crash"}'), chat('{"label": "bug"}'))
    assert isinstance(outcome.value, dict)
    assert (outcome.value["label"], len(asked)) == ("bug", 2)
    outcome, _ = await classify(link, chat('{"label": "crash"}'), rounds=1)
    assert outcome.code == "ai.no_fit"


@pytest.mark.parametrize(
    ("said", "labels", "first"),
    [
        ({"bug": True, "wish": True}, ["bug", "wish"], "bug"),
        ({"bug": False, "wish": True}, ["wish"], "wish"),
        ({"bug": False, "wish": False}, [], None),
    ],
)
async def test_several_labels_may_apply_or_none(
    link: Link, said: dict[str, bool], labels: list[Json], first: str | None
) -> None:
    outcome, (body,) = await classify(link, chat(json.dumps(said)), multiple=True)
    assert outcome.value == {"label": first, "labels": labels}
    assert body["response_format"]["json_schema"]["strict"] is True


async def test_labels_that_are_no_plain_words_are_numbered_in_an_answer_about_all(link: Link) -> None:
    names: list[Json] = ["it is broken", "it is missing"]
    outcome, (body,) = await classify(link, chat('{"1": false, "2": true}'), multiple=True, labels=names)
    assert outcome.value == {"label": "it is missing", "labels": ["it is missing"]}
    assert "- 2: it is missing" in body["messages"][0]["content"]


async def test_what_labels_mean_is_told_to_the_model(link: Link) -> None:
    labels: dict[str, Json] = {"bug": "Something does not work.", "wish": "Something is missing."}
    outcome, (body,) = await classify(link, chat('{"label": "wish"}'), labels=labels)
    assert outcome.kind == "output"
    assert "- wish: Something is missing." in body["messages"][0]["content"]


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "a"], ["a", ""], {"a": "x"}])
async def test_labels_are_two_at_least_and_different(labels: Json) -> None:
    outcome = await run_node(ai_classify, {"model": "gpt-4", "text": "x", "labels": labels})
    assert outcome.code == "node.config_invalid"
