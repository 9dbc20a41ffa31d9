from celeriac.testing import run_node
from nodes.flow.exit_scope import exit_scope


async def test_it_ends_what_it_names_with_a_value() -> None:
    outcome = await run_node(exit_scope, {"scope": "loop", "value": [1]})
    assert (outcome.kind, outcome.scope, outcome.value) == ("exit", "loop", [1])


async def test_it_ends_the_workflow_when_it_names_nothing() -> None:
    outcome = await run_node(exit_scope, {})
    assert (outcome.scope, outcome.value) == ("workflow", None)


async def test_an_empty_name_is_none() -> None:
    assert (await run_node(exit_scope, {"scope": ""})).code == "node.config_invalid"
