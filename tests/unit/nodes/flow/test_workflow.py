from typing import Any

import pytest

from celeriac import Call
from celeriac.testing import run_node
from nodes.flow.workflow import workflow


@pytest.mark.parametrize(
    ("config", "call"),
    [
        ({"workflow": "ship"}, Call("ship", {})),
        ({"workflow": "ship", "version": 3, "input": [1]}, Call("ship", [1], 3)),
        ({"workflow": "self", "wait": False}, Call("self", {}, wait=False)),
        ({"workflow": "ship", "wait": False, "key": "a"}, Call("ship", {}, wait=False, key="a")),
    ],
)
async def test_it_calls_what_it_names(config: dict[str, Any], call: Call) -> None:
    outcome = await run_node(workflow, config)
    assert (outcome.kind, outcome.call, outcome.value) == ("call", call, call.input)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"workflow": ""},
        {"workflow": "ship", "definition": {"nodes": []}},
        {"workflow": "ship", "version": 0},
        {"workflow": "ship", "version": "3"},
        {"definition": {"nodes": []}, "version": 1},
        {"workflow": "ship", "key": "a"},
        {"workflow": "ship", "wait": False, "key": ""},
        {"workflow": "ship", "inputs": {}},
    ],
)
async def test_what_does_not_fit_is_refused(config: dict[str, Any]) -> None:
    assert (await run_node(workflow, config)).code == "node.config_invalid"
