from __future__ import annotations

from engine import schema
from tests.unit.api.conftest import Api
from tests.workbench import built_in


async def test_the_published_schema_is_that_of_the_installed_node_types(api: Api) -> None:
    answer = await api.http.get("/schemas/workflow/v1.json", headers={"Authorization": ""})
    assert answer.json() == schema.document(built_in())
    assert answer.headers["content-type"] == "application/schema+json"
