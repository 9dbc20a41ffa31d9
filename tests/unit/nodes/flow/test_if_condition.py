import pytest

from celeriac import Json
from celeriac.testing import run_node
from nodes.flow.if_condition import if_condition


@pytest.mark.parametrize(("condition", "port"), [(True, "true"), (False, "false")])
async def test_a_boolean_decides_the_port(condition: bool, port: str) -> None:
    outcome = await run_node(if_condition, {"condition": condition})
    assert (outcome.ports, outcome.value) == ((port,), {"result": condition})


@pytest.mark.parametrize("condition", [None, 0, 1, "true", "", [], {}])
async def test_nothing_but_a_boolean_decides(condition: Json) -> None:
    assert (await run_node(if_condition, {"condition": condition})).code == "if.not_boolean"
