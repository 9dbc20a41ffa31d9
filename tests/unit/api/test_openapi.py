"""The API's description: every operation says who may call it, shows an example, and tells how it refuses."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from api.openapi import TAGS
from api.permission import declarations
from api.problems import MEDIA_TYPE
from api.refusals import OWN
from celeriac.client import Client
from celeriac.client.asking import Asking
from tests.unit.api.conftest import Api

NO_METHODS = {"alive", "metrics", "ready", "workflow_schema"}
"""What probes and editors ask for, and no program that uses the client."""
NO_OPERATIONS = {"follow", "openapi"}
"""Methods beside the operations: `events` as they happen, and the description itself, which does not describe itself."""


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    for path, found in document["paths"].items():
        for method, operation in found.items():
            yield f"{method} {path}", operation


async def described(api: Api) -> Any:
    return (await api.get("/openapi.json")).json()


async def test_the_description_is_valid_openapi_3_1(api: Api) -> None:
    document = await described(api)
    assert document["openapi"].startswith("3.1")
    assert [str(each.message)[:300] for each in OpenAPIV31SpecValidator(document).iter_errors()] == []


async def test_every_operation_says_who_may_and_how_it_refuses(api: Api) -> None:
    count = 0
    for place, operation in operations(await described(api)):
        assert operation["x-permission"], place
        outside = " /api/v1" not in place and not operation["security"]
        answers = operation["responses"]
        assert ("401" in answers) == bool(operation["security"]) or "auth/" in place, place
        assert outside or {"403", "421", "422", "503"} <= set(answers), place
        assert outside or "callbacks" in place or "429" in answers, place
        assert outside or place.startswith("get ") or {"413", "415"} <= set(answers), place
        parameters = operation.get("parameters", [])
        assert {each["name"] for each in parameters if each["in"] == "path"} == {
            part[1:-1] for part in place.split("/") if part.startswith("{")
        }, place
        assert "404" in answers or "{" not in place, place
        count += 1
    assert count > 100


async def test_every_operation_shows_examples_and_every_refusal_is_a_problem_with_its_codes(api: Api) -> None:
    for place, operation in operations(await described(api)):
        assert operation["operationId"], place
        assert operation["summary"], place
        assert operation["description"], place
        assert len(operation["tags"]) == 1, place
        assert operation["tags"][0] in TAGS, place
        if "requestBody" in operation:
            for content in operation["requestBody"]["content"].values():
                assert "example" in content, place
        good = [each for status, each in operation["responses"].items() if status[0] == "2"]
        assert good, place
        for status, answer in operation["responses"].items():
            if status in ("204", "304"):
                assert "content" not in answer, place
                continue
            for kind, content in answer["content"].items():
                assert kind == "text/event-stream" or "example" in content, (place, status)
            if status[0] in "45" and place != "get /readyz":
                assert status == "503" or [*answer["content"]] == [MEDIA_TYPE], (place, status)
                code = answer["content"][MEDIA_TYPE]["example"]["code"]
                assert f"`{code}`" in answer["description"] or place == "get /health", (place, status)


async def test_operations_that_take_a_body_say_so(api: Api) -> None:
    bare = {
        operation["operationId"]
        for place, operation in operations(await described(api))
        if place.startswith(("post", "put", "patch")) and "requestBody" not in operation
    }
    assert bare == {
        "disable",
        "disable_webhook",
        "enable",
        "enable_webhook",
        "invite_first_user",
        "invite_user",
        "logout",
        "pause",
        "publish_version",
        "redeliver",
        "reseal_connections",
        "restore_workflow",
        "resume",
        "resume_schedule",
        "rotate_subscription",
        "test_connection",
        "test_subscription",
    }


async def test_the_client_has_a_method_for_each_operation_and_no_other(api: Api) -> None:
    named = [operation["operationId"] for _, operation in operations(await described(api))]
    assert len(named) == len(set(named))
    methods = {
        name
        for name, _ in inspect.getmembers(Client, inspect.isfunction)
        if not name.startswith("_") and name not in vars(Asking)
    }
    assert set(named) - methods == NO_METHODS
    assert methods - set(named) == NO_OPERATIONS


def test_every_route_has_an_operation(api: Api) -> None:
    unnamed = {f"{each.method} {each.path}" for each in declarations(api.guard.app) if not each.operation}
    assert {each for each in unnamed if not each.partition(" ")[2].startswith(("/webhooks/", "/forms/"))} == {
        "GET /api/v1/openapi.json",
        "WS /api/v1/ws",
    }


def test_what_is_said_of_refusals_is_said_of_operations_that_are_there(api: Api) -> None:
    assert set(OWN) <= {each.operation for each in declarations(api.guard.app)}
