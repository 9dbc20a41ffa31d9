from celeriac import Json
from celeriac.testing import run_node
from nodes.flow.set_values import set_values


async def test_the_values_are_the_output() -> None:
    values: Json = {"a": 1, "b": [None, {"c": "d"}]}
    assert (await run_node(set_values, {"values": values})).value == values


async def test_without_values_there_is_nothing_to_set() -> None:
    assert (await run_node(set_values, {})).code == "node.config_invalid"
