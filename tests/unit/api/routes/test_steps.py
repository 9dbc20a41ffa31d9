from __future__ import annotations

from typing import Any

from tests.builders import node
from tests.unit.api.conftest import Api


async def test_the_steps_of_a_playbook_are_told_and_of_nothing_else(api: Api) -> None:
    await api.push(node("a"))
    execution = await api.execute()
    assert (await api.get(f"/executions/{execution}/steps")).status_code == 404
    assert (await api.get("/executions/exec_none/steps")).status_code == 404
    steps = [{"action": "set", "params": {"values": {"a": 1}}}]
    document: dict[str, Any] = {"name": "p", "definition": {"steps": steps}}
    answer = await api.post("/workflows", document)
    assert answer.status_code == 201, answer.text
    execution = await api.execute(workflow="p")
    await api.carry(execution)
    told = (await api.get(f"/executions/{execution}/steps")).json()
    assert [(each["id"], each["status"], each["result"]) for each in told["steps"]] == [
        ("step_1", "succeeded", {"a": 1})
    ]
