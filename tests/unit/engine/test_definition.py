from __future__ import annotations

from typing import Any

import pytest

from celeriac import Effect
from engine.definition import (
    Edge,
    Join,
    Node,
    OnError,
    RetryPolicy,
    Timeout,
    Trigger,
    Workflow,
    content_hash,
)
from tests.builders import document, edge, node


def test_what_is_not_said_stays_unsaid() -> None:
    workflow = Workflow.parse({"name": "w", "definition": {"nodes": [{"id": "a", "type": "noop"}]}})
    assert workflow == Workflow(
        name="w",
        description="",
        enabled=True,
        triggers=(),
        nodes=(Node("a", "noop", {}, None, None, None, None, None, None, "ask"),),
        edges=(),
        inputs=None,
        outputs=None,
        variables={},
        retry=None,
        timeout=None,
        on_error=None,
        queue=None,
    )


def test_everything_that_is_said_is_read() -> None:
    body = document(
        [
            node(
                "a",
                "http_request@1",
                {"url": "https://x.example/"},
                retry={"max_attempts": 3},
                timeout="1m",
                on_error="continue",
                join="any",
                queue="io",
                effect="keyed",
                on_uncertain="fail",
            )
        ],
        [edge("trigger", "a"), edge("a", "b", port="out", when="x > 1"), edge("a", "c", on="any")],
        triggers=[{"type": "webhook", "id": "in", "config": {"path": "p"}}, {"type": "manual"}],
        inputs={"type": "object"},
        outputs={"x": "{{ nodes.a.output }}"},
        variables={"v": 1},
        retry={"max_attempts": 2},
        timeout="1h",
        on_error={"default": None},
        queue="default",
    )
    body |= {"description": "Does it.", "enabled": False}
    workflow = Workflow.parse(body)
    assert workflow.nodes == (
        Node(
            "a",
            "http_request@1",
            {"url": "https://x.example/"},
            RetryPolicy(max_attempts=3),
            Timeout(attempt=60.0),
            OnError("continue"),
            Join("any"),
            "io",
            Effect.KEYED,
            "fail",
        ),
    )
    assert workflow.edges == (
        Edge("trigger", "a", None, "success", None),
        Edge("a", "b", "out", "success", "x > 1"),
        Edge("a", "c", None, "any", None),
    )
    assert workflow.triggers == (Trigger("in", "webhook", {"path": "p"}), Trigger("trigger", "manual", {}))
    assert (workflow.description, workflow.enabled, workflow.queue) == ("Does it.", False, "default")
    assert (workflow.timeout, workflow.variables) == (3600.0, {"v": 1})
    assert (workflow.retry, workflow.on_error) == (
        RetryPolicy(max_attempts=2),
        OnError("continue", has_default=True),
    )
    assert (workflow.inputs, workflow.outputs) == ({"type": "object"}, {"x": "{{ nodes.a.output }}"})


def test_a_single_trigger_may_be_written_without_a_list() -> None:
    workflow = Workflow.parse(document([], trigger={"type": "manual"}))
    assert workflow.triggers == (Trigger("trigger", "manual", {}),)


def test_a_retry_policy_reads_durations_and_its_two_lists() -> None:
    body = {
        "max_attempts": 4,
        "on": ["http.*", "TryAgain"],
        "except": ["http.404"],
        "delay": "250ms",
        "max_delay": "1m",
        "max_duration": 90,
        "backoff": "linear",
        "jitter": 0,
    }
    assert RetryPolicy.parse(body) == RetryPolicy(
        max_attempts=4,
        on=("http.*", "TryAgain"),
        excluding=("http.404",),
        delay=0.25,
        max_delay=60.0,
        max_duration=90.0,
        backoff="linear",
        jitter=0,
    )
    assert RetryPolicy.parse({"max_duration": None}) == RetryPolicy()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (5, Timeout(attempt=5.0)),
        ("1h30m", Timeout(attempt=5400.0)),
        ({"attempt": "5s"}, Timeout(attempt=5.0)),
        ({"attempt": 5, "total": "1m"}, Timeout(5.0, 60.0)),
        ({"total": 0.5}, Timeout(total=0.5)),
    ],
)
def test_a_timeout_is_a_number_a_text_or_both_limits(written: Any, expected: Timeout) -> None:
    assert Timeout.parse(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("fail", OnError("fail")),
        ("continue", OnError("continue")),
        ("branch", OnError("branch")),
        ({"default": {"a": 1}}, OnError("continue", has_default=True, default={"a": 1})),
    ],
)
def test_what_follows_a_failure_is_a_word_or_a_default(written: Any, expected: OnError) -> None:
    assert OnError.parse(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("all", Join()),
        ("any", Join("any")),
        ({"mode": "n", "count": 2}, Join("n", 2)),
        ({"mode": "any"}, Join("any")),
        ({}, Join()),
    ],
)
def test_a_join_is_a_word_or_a_count(written: Any, expected: Join) -> None:
    assert Join.parse(written) == expected


def test_the_identity_of_a_definition_is_its_content_and_neither_order_nor_name() -> None:
    one = {"name": "one", "definition": {"nodes": [], "variables": {"ä": 1, "b": 2}}}
    two = {"name": "two", "definition": {"variables": {"b": 2, "ä": 1}, "nodes": []}}
    other = {"name": "one", "definition": {"nodes": [], "variables": {"ä": 1, "b": 3}}}
    assert content_hash(one) == content_hash(two)
    assert content_hash(one) != content_hash(other)
    assert len(content_hash(one)) == 64
