from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac import Fail
from celeriac.outcomes import OnDecision, Wait
from engine import approvals
from engine import operations as op
from engine.approvals import FormInvalid, Vote
from engine.settings import Limits
from tests.builders import document, edge, node
from tests.workbench import NOW, Workbench


def votes(text: str) -> list[Vote]:
    words = {"a": "approved", "r": "rejected"}
    return [Vote(str(number), words[each], "", None, NOW) for number, each in enumerate(text)]


@pytest.mark.parametrize(
    ("rule", "quorum", "said", "verdict"),
    [
        ("reject_wins", 1, "", None),
        ("reject_wins", 1, "a", "approved"),
        ("reject_wins", 1, "r", "rejected"),
        ("reject_wins", 3, "aa", None),
        ("reject_wins", 3, "aar", "rejected"),
        ("reject_wins", 3, "aaa", "approved"),
        ("majority", 1, "a", "approved"),
        ("majority", 3, "ar", None),
        ("majority", 3, "aa", "approved"),
        ("majority", 3, "arr", "rejected"),
        ("majority", 4, "aa", None),
        ("majority", 4, "aar", None),
        ("majority", 4, "aarr", "rejected"),
        ("majority", 4, "rrr", "rejected"),
    ],
)
def test_enough_voices_are_a_decision(rule: str, quorum: int, said: str, verdict: str | None) -> None:
    assert approvals.verdict(rule, quorum, votes(said)) == verdict


@pytest.mark.parametrize(
    ("users", "roles", "who", "has", "refused"),
    [
        ((), (), "ann", (), None),
        (("ann",), (), "ann", (), None),
        (("ann",), (), "bob", ("boss",), op.Counted.NOT_ASKED),
        ((), ("boss",), "bob", ("boss", "x"), None),
        ((), ("boss",), "bob", (), op.Counted.NOT_ASKED),
        (("ann",), ("boss",), "bob", ("boss",), None),
    ],
)
def test_those_who_are_asked_may_decide(users: Any, roles: Any, who: str, has: Any, refused: Any) -> None:
    asked = {"users": users, "roles": roles}
    assert approvals.may_decide(asked, who, has, four_eyes=False, starter="") is refused


@pytest.mark.parametrize(
    ("starter", "who", "refused"),
    [("ann", "ann", True), ("ann", "bob", False), ("", "api", True), ("", "bob", False)],
)
def test_four_eyes_keep_out_who_started_it(starter: str, who: str, refused: bool) -> None:
    asked: dict[str, list[str]] = {"users": [], "roles": []}
    found = approvals.may_decide(asked, who, (), four_eyes=True, starter=starter)
    assert (found is op.Counted.FOUR_EYES) is refused


FORM: Any = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("form", "answer", "decision", "fits"),
    [
        (None, None, "approved", True),
        (None, {}, "approved", False),
        (FORM, {"amount": 3}, "approved", True),
        (FORM, {"amount": "3"}, "approved", False),
        (FORM, None, "approved", False),
        (FORM, None, "rejected", True),
        (FORM, {}, "rejected", False),
    ],
)
def test_an_answer_fits_the_form(form: Any, answer: Any, decision: str, fits: bool) -> None:
    if fits:
        approvals.check_answer(form, answer, decision)
    else:
        with pytest.raises(FormInvalid):
            approvals.check_answer(form, answer, decision)


def test_what_is_asked_is_hashed_and_ends_when_the_last_wait_does(bench: Workbench) -> None:
    ask = OnDecision("t", show={"a": 1})
    made = [
        approvals.asked(Wait(5, None, (each,), then=Wait(9, None, (each,))), "n", bench.clock, Limits())[0]
        for each in (ask, OnDecision("t", show={"a": 1}, reminded=1), OnDecision("t", show={"a": 2}))
    ]
    assert all(each is not None and each.due == 9 for each in made)
    hashes = [each.shown_hash for each in made if each is not None]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_form_that_is_no_schema_fails_the_node(bench: Workbench) -> None:
    ask = OnDecision("t", form={"type": "nothing"})
    with pytest.raises(Fail) as caught:
        approvals.asked(Wait(None, None, (ask,)), "n", bench.clock, Limits())
    assert caught.value.code == "approval.form_unusable"


# From the definition to the result


def asking(config: dict[str, Any] | None = None, *ports: str) -> dict[str, Any]:
    ports = ports or ("approved", "rejected")
    shown = "{{ nodes.ask.output }}"
    return document(
        [
            node("ask", "approval", {"title": "Pay?", "show": {"order": "{{ order }}"}, **(config or {})}),
            *(node(f"by_{port}", "transform", {"expression": shown}) for port in ports),
        ],
        [edge("ask", f"by_{port}", port=port) for port in ports],
    )


async def begun(bench: Workbench, config: dict[str, Any] | None = None, *ports: str, **more: Any) -> str:
    name = bench.start(bench.push(asking(config, *ports)), {"order": 7}, **more)
    await bench.carry()
    return name


def voice(bench: Workbench, who: str = "ann", decision: str = "approved", **more: Any) -> op.Decide:
    id_, execution, shown = bench.query("SELECT id, execution_id, shown_hash FROM approval ORDER BY id DESC")[
        0
    ]
    made = {"shown_hash": shown, "roles": frozenset(), "now": bench.clock.now(), **more}
    return op.Decide(execution, id_, who, decision=decision, **made)


async def decide(bench: Workbench, *args: Any, **more: Any) -> op.Counted:
    asked = voice(bench, *args, **more)
    said: op.Decided = bench.ask(asked)
    bench.outlet.send(asked.execution, said.ready)
    await bench.carry()
    return said.counted


async def tick(bench: Workbench, seconds: float) -> None:
    bench.clock.move(seconds)
    bench.poller().tick()
    await bench.carry()


def state(bench: Workbench) -> str:
    return str(bench.query("SELECT status FROM approval")[0][0])


@pytest.mark.parametrize("decision", ["approved", "rejected"])
async def test_a_decision_goes_on_through_its_port_with_who_said_what(
    bench: Workbench, decision: str
) -> None:
    name = await begun(bench)
    assert bench.status(name) == "waiting"
    said = await decide(bench, "ann", decision, comment="yes", form='{"amount":3}')
    assert said is op.Counted.DECIDED
    ((key, found),) = bench.output(name).items()  # type: ignore[union-attr]
    assert key == f"by_{decision}"
    assert found["payload"] == {  # type: ignore[index,call-overload]
        "decision": decision,
        "by": "people",
        "votes": [
            {"principal": "ann", "decision": decision, "comment": "yes", "at": NOW, "form": {"amount": 3}}
        ],
    }
    assert state(bench) == decision
    assert await decide(bench, "bob") is op.Counted.CLOSED


async def test_a_quorum_takes_several_people_with_one_voice_each(bench: Workbench) -> None:
    name = await begun(bench, {"quorum": 2})
    assert await decide(bench, "ann") is op.Counted.COUNTED
    assert await decide(bench, "ann") is op.Counted.VOTED
    assert (bench.status(name), state(bench)) == ("waiting", "open")
    assert await decide(bench, "bob") is op.Counted.DECIDED
    assert (bench.status(name), state(bench)) == ("succeeded", "approved")


async def test_of_twenty_in_one_batch_one_decides(bench: Workbench) -> None:
    await begun(bench)
    asked = [voice(bench, f"p{n}", ("approved", "rejected")[n % 2]) for n in range(20)]
    said = [each.counted for each in bench.step(*asked)]
    assert said == [op.Counted.DECIDED, *[op.Counted.CLOSED] * 19]
    assert bench.query("SELECT principal FROM approval_vote") == [("p0",)]


async def test_who_is_not_asked_who_started_it_and_who_saw_something_else_do_not_count(
    bench: Workbench,
) -> None:
    config = {"approvers": {"users": ["ann", "eve"], "roles": ["boss"]}, "four_eyes": True}
    await begun(bench, config, principal="ann")
    assert await decide(bench, "bob") is op.Counted.NOT_ASKED
    assert await decide(bench, "ann") is op.Counted.FOUR_EYES
    assert await decide(bench, "eve", shown_hash="x") is op.Counted.STALE
    assert bench.query("SELECT * FROM approval_vote") == []
    assert await decide(bench, "bob", roles=frozenset({"boss"})) is op.Counted.DECIDED


@pytest.mark.parametrize(
    ("on_timeout", "port", "end"),
    [
        ("reject", "rejected", "rejected"),
        ("approve", "approved", "approved"),
        ("branch", "timeout", "timed_out"),
    ],
)
async def test_when_nobody_answers_the_time_decides(
    bench: Workbench, on_timeout: str, port: str, end: str
) -> None:
    ports = ("approved", "rejected", *(["timeout"] if port == "timeout" else []))
    name = await begun(bench, {"timeout": "1d", "on_timeout": on_timeout}, *ports)
    await tick(bench, 86_400)
    found: Any = bench.output(name)
    assert found[f"by_{port}"]["payload"] == {"decision": port, "by": "time", "votes": []}
    assert (len(found), state(bench)) == (1, end)
    assert await decide(bench) is op.Counted.CLOSED


async def test_people_are_reminded_and_others_asked_in_the_end(bench: Workbench) -> None:
    config = {
        "approvers": {"users": ["ann"]},
        "timeout": "1d",
        "reminders": ["1h", "2h"],
        "on_timeout": "escalate",
        "escalate_to": {"users": ["bob"]},
    }
    name = await begun(bench, config)
    look = "SELECT status, reminded, escalated, approvers, id FROM approval"
    first = bench.query(look)[0]
    asked = json.loads(first[3])
    assert (first[:3], asked["users"]) == (("open", 0, 0), ["ann"])
    for hours, expected in ((1, ("open", 1, 0)), (1, ("open", 2, 0)), (22, ("open", 2, 1))):
        await tick(bench, hours * 3600)
        assert bench.query(look)[0][:3] == expected
    assert bench.query(look)[0][4] == first[4]
    assert await decide(bench, "ann") is op.Counted.NOT_ASKED
    assert await decide(bench, "bob") is op.Counted.DECIDED
    assert bench.status(name) == "succeeded"


async def test_when_the_others_do_not_answer_either_it_is_rejected(bench: Workbench) -> None:
    config = {"timeout": "1d", "on_timeout": "escalate", "escalate_to": {"users": ["bob"]}}
    name = await begun(bench, config)
    await tick(bench, 86_400)
    assert bench.status(name) == "waiting"
    await tick(bench, 86_400)
    assert list(bench.output(name)) == ["by_rejected"]  # type: ignore[arg-type]


async def test_a_decision_between_two_rests_counts(bench: Workbench) -> None:
    name = await begun(bench, {"timeout": "1d", "reminders": ["1h"]})
    bench.clock.move(3600)
    bench.poller().tick()
    assert bench.segments(name)[0] == "ready"
    assert await decide(bench) is op.Counted.DECIDED
    assert list(bench.output(name)) == ["by_approved"]  # type: ignore[arg-type]


async def test_what_is_stopped_is_withdrawn(bench: Workbench) -> None:
    name = await begun(bench)
    bench.ask(op.Cancel(name, NOW))
    assert state(bench) == "withdrawn"
    assert await decide(bench) is op.Counted.CLOSED


async def test_a_stopped_instance_withdraws_its_approval(bench: Workbench) -> None:
    inner = {
        "nodes": [
            node("ask", "approval", {"title": "t"}),
            node("rest", "wait", {"for": 1}),
            node("no", "fail", {"message": "x"}),
        ],
        "edges": [edge("rest", "no")],
    }
    body = document(
        [
            {"id": "in", "type": "scope", "on_error": "continue", "body": inner},
            node("last", "wait", {"for": 99}),
        ]
    )
    name = bench.start(bench.push(body))
    await bench.carry()
    await tick(bench, 1)
    assert (bench.status(name), state(bench)) == ("waiting", "withdrawn")


async def test_an_unusable_form_fails_the_node(bench: Workbench) -> None:
    name = await begun(bench, {"form": {"type": "nothing"}})
    assert bench.error(name)["code"] == "approval.form_unusable"


async def test_a_call_from_outside_is_no_decision(bench: Workbench) -> None:
    name = await begun(bench)
    assert not bench.ask(op.Signal(name, 0, "", "approved", "callback", NOW)).won
    early = bench.start(bench.push(asking({"quorum": 2})), {"order": 7})
    assert bench.ask(op.Signal(early, 0, "", "approved", "callback", NOW)).won
    await bench.carry()
    assert bench.status(early) == "waiting"
