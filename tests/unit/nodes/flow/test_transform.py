import pytest

from celeriac import Json
from celeriac.testing import run_node
from nodes.flow.transform import transform


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": [1.5]}, True])
async def test_the_value_of_the_expression_is_the_output_whatever_its_type(value: Json) -> None:
    outcome = await run_node(transform, {"expression": value})
    assert (outcome.kind, outcome.value) == ("output", value)
