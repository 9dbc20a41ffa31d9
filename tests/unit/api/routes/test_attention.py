from __future__ import annotations

from engine import operations as op
from tests.builders import edges, node
from tests.unit.api.conftest import Api

POST = node("charge", "http_request", {"url": "https://example.com", "method": "POST"})


async def doubtful(api: Api) -> str:
    await api.push(
        POST,
        node("then", "set", {"values": {"id": "{{ nodes.charge.output.body.id }}"}}),
        edges=edges("charge->then"),
    )
    name = await api.execute()
    api.doubt(name)
    return name


async def test_what_waits_for_a_person_is_listed_with_its_remedy(api: Api) -> None:
    name = await doubtful(api)
    (found,) = (await api.get("/attention")).json()["data"]
    assert (found["execution"], found["node"], found["status"]) == (name, "charge", "uncertain")
    assert "celeriac attention resolve" in found["hint"]


async def test_done_goes_on_with_the_output_that_was_given(api: Api) -> None:
    name = await doubtful(api)
    answer = await api.post(
        f"/executions/{name}/segments/0/resolve", {"decision": "done", "output": {"body": {"id": 7}}}
    )
    assert (answer.status_code, answer.json()["node"]) == (200, "charge")
    await api.carry(name)
    body = (await api.get(f"/executions/{name}")).json()
    assert (body["status"], body["output"]) == ("succeeded", {"then": {"id": 7}})
    assert (await api.get("/attention")).json()["data"] == []
    again = await api.post(f"/executions/{name}/segments/0/resolve", {"decision": "retry"})
    assert again.status_code == 409


async def test_fail_ends_it_with_a_code_that_says_who_said_so(api: Api) -> None:
    name = await doubtful(api)
    await api.post(f"/executions/{name}/segments/0/resolve", {"decision": "fail"})
    await api.carry(name)
    body = (await api.get(f"/executions/{name}")).json()
    assert (body["status"], body["error"]["code"], body["error"]["node"]) == (
        "failed",
        "effect.declared_failed",
        "charge",
    )


async def test_retry_lets_it_be_tried_again(api: Api) -> None:
    name = await doubtful(api)
    assert (
        await api.post(f"/executions/{name}/segments/0/resolve", {"decision": "retry"})
    ).status_code == 200
    nodes = (await api.get(f"/executions/{name}/nodes")).json()["data"]
    assert nodes[0]["status"] == "ready"


async def test_a_word_that_cannot_be_carried_out_changes_nothing(api: Api) -> None:
    name = await doubtful(api)
    for body in (
        {},
        {"decision": "perhaps"},
        {"decision": "retry", "output": 1},
        {"decision": "done", "node": "then"},
        {"decision": "done", "item": 3},
        {"decision": "done", "output": "x" * 40_000},
    ):
        answer = await api.post(f"/executions/{name}/segments/0/resolve", body)
        assert answer.status_code == 422, body
    assert (
        await api.post(f"/executions/{name}/segments/9/resolve", {"decision": "retry"})
    ).status_code == 404
    await api.post(f"/executions/{name}/pause")
    held = await api.post(f"/executions/{name}/segments/0/resolve", {"decision": "retry"})
    assert (held.status_code, held.json()["hint"]) == (
        409,
        f"Let it go on first: celeriac executions resume {name}",
    )
    assert len((await api.get("/attention")).json()["data"]) == 1


async def test_of_a_quarantined_segment_a_person_names_the_guilty_node(api: Api) -> None:
    await api.push(node("a"), POST, edges=edges("a->charge"))
    name = await api.execute()
    now = api.bench.clock.now()
    claimed = api.bench.ask(op.Claim(name, 0, "", "elsewhere:1:1", now, now + 15_000))
    api.bench.ask(op.Lose(name, ((0, "", claimed.epoch),), now, "It died.", deliveries=0))
    unnamed = await api.post(f"/executions/{name}/segments/0/resolve", {"decision": "done", "output": 1})
    assert (unnamed.status_code, unnamed.json()["hint"]) == (422, "Name it in `node`: a, charge, @output.")
    await api.post(
        f"/executions/{name}/segments/0/resolve", {"decision": "done", "output": 1, "node": "charge"}
    )
    await api.carry(name)
    assert (await api.get(f"/executions/{name}")).json()["output"] == {"charge": 1}
