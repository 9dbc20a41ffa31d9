import pytest

from celeriac import Json
from celeriac.testing import run_node
from nodes.flow.log import log


@pytest.mark.parametrize(
    ("message", "line"), [("hello", "hello"), ({"a": "ü"}, '{"a": "ü"}'), (None, "null")]
)
async def test_the_message_becomes_a_line_and_what_is_no_text_is_written_as_json(
    message: Json, line: str
) -> None:
    outcome = await run_node(log, {"message": message, "level": "warning"})
    assert [(each.level, each.message) for each in outcome.lines] == [("warning", line)]
    assert (outcome.kind, outcome.value) == ("output", None)


async def test_without_a_level_it_is_information() -> None:
    assert (await run_node(log, {"message": "x"})).lines[0].level == "info"
