from pathlib import Path

import pytest

from celeriac import ConnectionType, NodeType
from celeriac.outcomes import Json
from nodes import CONNECTION_TYPES, NODE_TYPES

FOLDER = Path(__file__).parents[3] / "nodes"
SHARED = {"encryption", "probe"}
"""Files that several types share."""


def test_every_file_of_a_node_type_is_in_the_list_and_every_name_stands_once() -> None:
    folders = ("ai", "connections", "conversions", "flow", "integrations")
    found = (each for folder in folders for each in (FOLDER / folder).glob("*.py"))
    files = {each.stem for each in found if each.stem != "__init__"} - SHARED
    declared = [each.run for each in NODE_TYPES] + [each.test for each in CONNECTION_TYPES]
    assert {each.__module__.rpartition(".")[2] for each in declared} == files
    assert len({each.key for each in NODE_TYPES}) == len(NODE_TYPES)


@pytest.mark.parametrize("kind", CONNECTION_TYPES, ids=lambda each: each.name)
def test_a_connection_type_tells_what_it_is_and_what_each_field_means(kind: ConnectionType) -> None:
    schema = kind.schema()
    assert kind.summary.endswith(".")
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert [
        name for name, each in properties.items() if not (isinstance(each, dict) and each.get("description"))
    ] == []


@pytest.mark.parametrize("node_type", NODE_TYPES, ids=lambda each: each.key)
def test_a_node_type_tells_what_it_does_and_what_each_field_of_its_config_means(node_type: NodeType) -> None:
    schema: dict[str, Json] = node_type.config_schema()
    assert node_type.summary.endswith(".")
    assert schema["additionalProperties"] is False
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    assert [
        name for name, each in properties.items() if not (isinstance(each, dict) and each.get("description"))
    ] == []
