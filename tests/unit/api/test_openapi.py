from __future__ import annotations

from api.permission import declarations
from celeriac.client import Client
from tests.unit.api.conftest import Api


async def test_every_operation_says_who_may_and_how_it_refuses(api: Api) -> None:
    document = (await api.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    count = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            place = f"{method} {path}"
            assert operation["x-permission"], place
            assert ("401" in operation["responses"]) == bool(operation["security"]), place
            assert "429" in operation["responses"], place
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    assert f"{{{parameter['name']}}}" in path, place
            assert {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"} == {
                part[1:-1] for part in path.split("/") if part.startswith("{")
            }, place
            count += 1
    assert count > 60


def test_operations_that_are_named_are_methods_of_the_client(api: Api) -> None:
    named = {each.operation for each in declarations(api.guard.app) if each.operation}
    assert len(named) > 30
    assert [each for each in sorted(named) if not callable(getattr(Client, each, None))] == []
