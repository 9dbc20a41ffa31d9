"""Documents of every version: read, reviewed, made into node types, and these run against a server."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from api.main import create_app
from celeriac import Effect, Fail, Json, NodeType
from celeriac.cli import app
from celeriac.testing import run_node
from engine.declared.loading import load, type_of
from engine.registry import Registry
from engine.settings import Settings
from nodes.documents.declarations import declarations, prefix_of
from nodes.documents.openapi import Document, parse
from nodes.documents.reading import MOST_BYTES, read
from nodes.documents.review import review
from nodes.documents.schemas import alone
from nodes.integrations.api_document_analyze import api_document_analyze
from tests.loopback import Asked, Server, answer, serving
from tests.unit.nodes.documents.shelter import NEW, THREE, TWO


def declared(source: Any, base: str | None = None, **more: Any) -> dict[str, dict[str, Any]]:
    document = (
        parse(source) if isinstance(source, dict) else parse(read(source), "https://shelter.example/doc")
    )
    found = declarations(document, prefix_of(document), base, **more)
    return {str(each.get("node") or each["connection_kind"]): each for each in found}


def parsed(source: Any) -> Document:
    return parse(read(source) if isinstance(source, str) else source, "https://shelter.example/api/doc.yaml")


# Reading


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no object"),
        ("[1]", "no object"),
        ("{", "neither JSON nor YAML"),
        ("a: [", "neither JSON nor YAML"),
        ("a: &x [1, 2]\nb: [*x, *x]", "alias"),
        ("a: !!python/object/apply:os.system ['true']", "neither JSON nor YAML"),
        ("[" * 100_000, "neither JSON nor YAML"),
    ],
)
def test_what_is_no_document_is_refused(text: str, word: str) -> None:
    with pytest.raises(Fail, match=word) as caught:
        read(text)
    assert caught.value.code == "document.unreadable"


def test_a_document_over_the_limit_is_not_read() -> None:
    assert read('{"a": "' + "x" * (MOST_BYTES - 9) + '"}')
    with pytest.raises(Fail, match="larger"):
        read('{"a": "' + "x" * (MOST_BYTES - 8) + '"}')


def test_yaml_and_json_say_the_same_and_dates_stay_text() -> None:
    assert read("a: 2020-01-01\nb: {c: [1, true]}") == {"a": "2020-01-01", "b": {"c": [1, True]}}
    assert read('{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("source", [{}, {"openapi": "4.0"}, {"swagger": "1.2"}])
def test_another_version_is_not_guessed_at(source: dict[str, Any]) -> None:
    with pytest.raises(Fail) as caught:
        parse(source)
    assert caught.value.code == "document.unknown_version"


@pytest.mark.parametrize(
    ("source", "servers"),
    [
        (NEW, ("https://eu.shelter.example/v1",)),
        (THREE, ("https://shelter.example/v1",)),
        (TWO, ("https://shelter.example/v1", "http://shelter.example/v1")),
        ({**TWO, "host": None}, ("https://shelter.example/v1",)),
        ({**NEW, "servers": []}, ("https://shelter.example",)),
    ],
)
def test_where_the_service_is_follows_from_the_document_and_where_it_came_from(
    source: Any, servers: tuple[str, ...]
) -> None:
    assert parsed(source).servers == servers


def test_a_document_that_is_full_of_nonsense_is_read_as_far_as_it_makes_sense() -> None:
    nonsense = {
        "openapi": "3.0.0",
        "info": 5,
        "servers": [7, {"url": None}],
        "paths": {
            "/a": None,
            "/b": {"get": 5, "post": {"parameters": 7, "responses": [], "requestBody": "x"}},
        },
        "components": {"schemas": [], "securitySchemes": {"x": None, "y": {"type": "http"}}},
    }
    document = parse(nonsense)
    assert [each.id for each in document.operations] == ["post /b"]
    assert review(document)["statistics"]


# Schemas


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        (
            {"type": "string", "nullable": True, "enum": ["a"]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        ({"$ref": "#/components/schemas/Nothing"}, {}),
        ({"$ref": "https://evil.test/schema.json"}, {}),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            {"type": "integer", "exclusiveMinimum": 0},
        ),
        ({"type": "integer", "maximum": 9, "exclusiveMaximum": False}, {"type": "integer", "maximum": 9}),
        ({"type": "integer", "exclusiveMaximum": 9}, {"type": "integer", "exclusiveMaximum": 9}),
        ({"type": "string", "pattern": "(?<!x"}, {"type": "string"}),
        ({"type": "string", "pattern": "^a+$"}, {"type": "string", "pattern": "^a+$"}),
        ({"type": "file"}, {}),
        ({"type": "string", "xml": {}, "example": 1, "x-y": 2}, {"type": "string"}),
        ({"type": "string", "required": True}, {"type": "string"}),
    ],
)
def test_old_words_are_exchanged(schema: Json, expected: Json) -> None:
    assert alone(NEW, schema, "in") == expected


def test_what_is_recursive_ends_and_what_is_not_sent_is_left_out() -> None:
    sent = alone(NEW, {"$ref": "#/components/schemas/Pet"}, "in")
    answered = alone(NEW, {"$ref": "#/components/schemas/Pet"}, "out")
    assert (sent["required"], answered["required"]) == (["name"], ["id", "name"])
    assert "id" not in sent["properties"]
    assert sent["properties"]["friends"] == {"type": "array", "items": {}}


def test_a_schema_that_grows_without_bound_is_cut() -> None:
    names = [f"S{number}" for number in range(30)]
    schemas = {
        name: {
            "type": "object",
            "properties": {str(n): {"$ref": f"#/components/schemas/{after}"} for n in range(10)},
        }
        for name, after in itertools.pairwise(names)
    }
    document = {"components": {"schemas": schemas}}
    assert len(json.dumps(alone(document, {"$ref": "#/components/schemas/S0"}, "in"))) < 200_000


# Review


def test_a_review_says_what_there_is() -> None:
    found: Any = review(parsed(NEW))
    assert found["authentication"] == ["api_key"]
    assert found["statistics"] == {
        "total_endpoints": 5,
        "total_paths": 3,
        "total_schemas": 1,
        "total_parameters": 6,
        "deprecated": 1,
        "described": 2,
        "methods": {"DELETE": 1, "GET": 2, "POST": 2},
        "tags": 0,
    }
    assert [(each["method"], each["path"]) for each in found["endpoints"]][:2] == [
        ("GET", "/pets"),
        ("POST", "/pets"),
    ]


@pytest.mark.parametrize(
    ("change", "issue"),
    [
        ({"servers": [{"url": "http://shelter.example"}]}, "plain_http"),
        ({"servers": [{"url": "https://127.0.0.1"}]}, "private_server"),
        ({"components": {"securitySchemes": {"key": {"type": "http", "scheme": "basic"}}}}, "basic"),
        (
            {"components": {"securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "k"}}}},
            "key_in_query",
        ),
        (
            {"components": {"securitySchemes": {"key": {"type": "oauth2", "flows": {"implicit": {}}}}}},
            "old_flow",
        ),
        ({"security": []}, "open"),
        ({"security": []}, "open_change"),
        ({"security": [{"other": []}]}, "unknown_scheme"),
        (
            {"paths": {"/x/{token}": {"get": {"parameters": [{"name": "token", "in": "path"}]}}}},
            "secret_in_address",
        ),
        ({"paths": {"/x": {"get": {"responses": {"200": {}}}}}}, "refusal_undescribed"),
        ({"paths": {"/x": {"$ref": "https://evil.test/paths.json"}}}, "reference_elsewhere"),
    ],
)
def test_what_is_dangerous_is_told(change: dict[str, Any], issue: str) -> None:
    before: Any = review(parsed({**NEW, "paths": {"/a": {"get": {"responses": {"401": {}}}}}}))
    assert before["security_issues"] == []
    found: Any = review(parsed({**NEW, **change}))
    assert issue in {each["issue"] for each in found["security_issues"]}


# Node types


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


async def shelter(asked: Asked, writer: Any) -> None:
    body = {"id": 7, "name": "Rex", "asked": asked.target}
    if asked.method == "GET" and asked.target.startswith("/v1/pets?"):
        writer.write(answer(json.dumps([body]), Content_Type="application/json"))
    elif asked.method == "DELETE":
        writer.write(answer(status="204 Gone"))
    else:
        writer.write(answer(json.dumps(body), Content_Type="application/json"))


@pytest.fixture
async def server(stack: AsyncExitStack) -> Server:
    return await stack.enter_async_context(serving(shelter))


async def call(found: dict[str, dict[str, Any]], name: str, **config: Any) -> Any:
    node_type = type_of(found[name], "test")
    assert isinstance(node_type, NodeType)
    async with httpx2.AsyncClient() as http:
        return await run_node(node_type, config, http=http, connections={"animal_shelter": http})


async def test_every_operation_becomes_a_node_type_that_asks_as_the_document_says(server: Server) -> None:
    found = declared(NEW, f"{server.url}/v1")
    assert list(found) == [
        "animal_shelter",
        "animal_shelter_list_pets",
        "animal_shelter_create_pet",
        "animal_shelter_get_pet",
        "animal_shelter_delete_pets_pet_id",
        "animal_shelter_add_photo",
    ]
    listed = await call(found, "animal_shelter_list_pets", tag=["a b", "c"], **{"X-Trace": "t"})
    assert listed.value["body"][0]["name"] == "Rex"
    assert server.asked[0].target == "/v1/pets?limit=20&tag%5B%5D=a+b&tag%5B%5D=c"
    assert server.asked[0].headers["x-trace"] == "t"
    await call(found, "animal_shelter_create_pet", body={"name": "Rex"})
    assert (server.asked[1].method, json.loads(server.asked[1].body)) == ("POST", {"name": "Rex"})
    await call(found, "animal_shelter_get_pet", **{"pet-id": 7})
    assert server.asked[2].target == "/v1/pets/7"
    gone = await call(found, "animal_shelter_delete_pets_pet_id", **{"pet-id": 7})
    assert gone.value == {"status": 204, "body": None}
    photo = {"base64": "AAE=", "media_type": "image/png", "name": "rex.png"}
    await call(found, "animal_shelter_add_photo", **{"pet-id": 7}, body={"title": "Rex", "photo": photo})
    assert b'name="photo"; filename="rex.png"' in server.asked[4].body
    assert b"\r\n\r\n\x00\x01\r\n" in server.asked[4].body


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("animal_shelter_list_pets", {"limit": 101}),
        ("animal_shelter_create_pet", {}),
        ("animal_shelter_create_pet", {"body": {"name": ""}}),
        ("animal_shelter_get_pet", {"pet-id": "seven"}),
        ("animal_shelter_get_pet", {}),
    ],
)
async def test_a_config_that_the_document_does_not_allow_is_refused(
    name: str, config: dict[str, Any], server: Server
) -> None:
    outcome = await call(declared(NEW, server.url), name, **config)
    assert (outcome.code, server.asked) == ("node.config_invalid", [])


async def test_a_strict_import_holds_the_service_to_its_word(server: Server) -> None:
    wrong = json.loads(json.dumps(NEW))
    wrong["components"]["schemas"]["Pet"]["properties"]["name"] = {"type": "integer"}
    assert (
        await call(declared(wrong, server.url), "animal_shelter_get_pet", **{"pet-id": 7})
    ).kind == "output"
    strict = declared(wrong, server.url, strict=True)
    outcome = await call(strict, "animal_shelter_get_pet", **{"pet-id": 7})
    assert (outcome.kind, outcome.code) == ("failed", "http.unexpected_body")
    assert outcome.error.details["place"] == "body/name"


async def test_the_older_versions_come_to_the_same(server: Server) -> None:
    found = declared(TWO, f"{server.url}/v1")
    await call(found, "animal_shelter_create_pet", body={"name": "Rex"})
    await call(found, "animal_shelter_list_pets", limit=5)
    await call(found, "animal_shelter_post_login", body={"user": "ada"})
    assert [(each.method, each.target, each.body) for each in server.asked] == [
        ("POST", "/v1/pets", b'{"name": "Rex"}'),
        ("GET", "/v1/pets?limit=5", b""),
        ("POST", "/v1/login", b"user=ada"),
    ]
    three = declared(THREE, server.url)
    assert (await call(three, "animal_shelter_get_pet", id=0)).code == "node.config_invalid"
    await call(three, "animal_shelter_get_pet", id=1, fields="name")
    assert server.asked[-1].target == "/pets/1?fields=name"


def test_effects_follow_from_the_methods_and_connections_from_the_schemes() -> None:
    registry = {name: type_of(each, "test") for name, each in declared(NEW).items()}
    effects = {name: each.effect for name, each in registry.items() if isinstance(each, NodeType)}
    assert list(effects.values()) == [Effect.READ, Effect.ONCE, Effect.READ, Effect.KEYED, Effect.ONCE]
    found = declared(NEW)
    assert found["animal_shelter_list_pets"]["connection"] == "animal_shelter"
    assert "connection" not in found["animal_shelter_delete_pets_pet_id"]
    assert found["animal_shelter"]["carry"] == {"headers": {"X-Key": "{{ fields.key }}"}}
    assert (
        found["animal_shelter"]["fields"]["properties"]["base_url"]["default"]
        == "https://eu.shelter.example/v1"
    )
    basic = declared(TWO)["animal_shelter"]
    assert set(basic["fields"]["properties"]) == {"username", "password", "base_url"}


@pytest.mark.parametrize("base", ["", "/v1", "ftp://x", "https://x/{{ vars }}", "https://x/' ~ y ~ '"])
def test_a_base_that_is_none_is_refused(base: str) -> None:
    source = {**NEW, "servers": [{"url": base or "/"}]}
    with pytest.raises(Fail) as caught:
        declarations(parse(source), "x", base)
    assert caught.value.code == "document.no_server"


def test_text_of_a_document_is_never_a_template() -> None:
    hostile: Any = json.loads(json.dumps(NEW))
    hostile["paths"]["/pets"]["get"]["summary"] = "{{ 1/0 }}"
    hostile["paths"]["/pets"]["get"]["parameters"] = [
        {
            "name": "a'] }}{{ 1/0",
            "in": "query",
            "description": "{{ 1/0 }}",
            "schema": {"default": "{{ 1/0 }}"},
        }
    ]
    found = declared(hostile)["animal_shelter_list_pets"]
    assert found["request"]["query"] == {"a'] }}{{ 1/0": "{{ config['a_1_0'] }}"}
    assert isinstance(type_of(found, "test"), NodeType)


def test_our_own_document_makes_node_types_of_all_it_offers(tmp_path: Path) -> None:
    settings = Settings(f"sqlite:///{tmp_path}/x.db", "memory://", tmp_path)
    source = create_app(settings, serves=False).app.openapi()
    found = declarations(parse(source), "celeriac", "http://127.0.0.1:8321")
    assert len(found) > 40
    for each in found:
        type_of(each, str(each))


# The command, and the node


def test_the_command_writes_declarations_that_every_process_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERIAC_DATA", str(tmp_path))
    file = tmp_path / "shelter.yaml"
    file.write_text(THREE)
    line = ["import", "openapi", str(file), "--base-url", "https://shelter.example/v1", "--json"]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    told = json.loads(done.stdout)
    assert told == {
        "file": str(tmp_path / "declarations" / "animal_shelter.json"),
        "connection_kind": None,
        "node_types": ["animal_shelter_get_pet"],
    }
    assert CliRunner().invoke(app, line).exit_code != 0
    assert CliRunner().invoke(app, [*line, "--replace"]).exit_code == 0
    assert load(tmp_path / "declarations")[0][0].name == "animal_shelter_get_pet"
    assert "animal_shelter_get_pet" in Registry.load(["nodes"], tmp_path / "declarations").names()
    shown = CliRunner().invoke(app, [*line[:-1], "--prefix", "pets"], catch_exceptions=False).stdout
    assert "pets_get_pet" in shown
    assert "Start the processes anew" in shown


def test_the_command_fetches_by_the_guarded_way_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERIAC_DATA", str(tmp_path))
    done = CliRunner().invoke(app, ["import", "openapi", "http://127.0.0.1:1/openapi.json", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (2, "egress.refused")


@pytest.mark.parametrize("text", ["", "openapi: 3.0.0\npaths: {/a: {get: {}}}"])
def test_the_command_says_what_is_wrong_with_a_document(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERIAC_DATA", str(tmp_path))
    (tmp_path / "x.yaml").write_text(text)
    done = CliRunner().invoke(app, ["import", "openapi", str(tmp_path / "x.yaml"), "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["code"].startswith("document.")


async def test_the_node_reads_a_document_it_is_given_or_fetches_one(stack: AsyncExitStack) -> None:
    async def serve(asked: Asked, writer: Any) -> None:
        found = asked.target == "/openapi.yaml"
        writer.write(answer(THREE if found else "", status="200 OK" if found else "404 No"))

    server = await stack.enter_async_context(serving(serve))
    async with httpx2.AsyncClient() as http:
        fetched = await run_node(api_document_analyze, {"url": f"{server.url}/openapi.yaml"}, http=http)
        missing = await run_node(api_document_analyze, {"url": f"{server.url}/x"}, http=http)
    given = await run_node(api_document_analyze, {"document": THREE})
    value: Any = fetched.value
    assert value["servers"] == [f"{server.url}/v1"]
    other: Any = given.value
    assert value["endpoints"] == other["endpoints"]
    assert (missing.kind, missing.code) == ("failed", "http.client_error")
    nothing = await run_node(api_document_analyze, {"document": 5})
    assert nothing.code == "document.unreadable"
    assert [api_document_analyze.effect_of(each) for each in ({}, {"url": "x"})] == [Effect.NONE, Effect.READ]
