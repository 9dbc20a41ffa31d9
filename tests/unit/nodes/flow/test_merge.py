from celeriac.testing import run_node
from nodes.flow.merge import merge


async def test_it_comes_to_null_once_its_branches_have_met() -> None:
    outcome = await run_node(merge, {})
    assert (outcome.kind, outcome.value) == ("output", None)
