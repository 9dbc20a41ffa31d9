import pytest

from celeriac.testing import run_node
from nodes.flow.fail import fail


async def test_it_fails_with_the_code_and_the_message_of_the_author() -> None:
    outcome = await run_node(fail, {"code": "order.empty", "message": "No lines."})
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message) == ("order.empty", "No lines.")


async def test_without_a_code_it_is_the_workflow_that_failed() -> None:
    assert (await run_node(fail, {"message": "No."})).code == "workflow.failed"


@pytest.mark.parametrize("code", ["", "order", "Order.empty", "order.", "a b.c"])
async def test_a_code_has_an_area_and_a_reason(code: str) -> None:
    assert (await run_node(fail, {"code": code, "message": "No."})).code == "node.config_invalid"
