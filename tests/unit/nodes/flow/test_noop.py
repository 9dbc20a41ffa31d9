from celeriac.testing import run_node
from nodes.flow.noop import noop


async def test_it_comes_to_null() -> None:
    outcome = await run_node(noop, {})
    assert (outcome.kind, outcome.value) == ("output", None)


async def test_it_has_nothing_to_set() -> None:
    assert (await run_node(noop, {"x": 1})).code == "node.config_invalid"
