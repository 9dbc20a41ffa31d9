import http.server
import json
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema_rs
import pytest
from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Effect, Expr, Json, node
from celeriac.contract import LITERAL
from celeriac.duration import PATTERN
from engine import definition, schema
from engine.registry import Registry


class Cat(BaseModel, extra="forbid"):
    kind: Literal["cat"]
    lives: int = Field(ge=1, description="How many.")


class Dog(BaseModel, extra="forbid"):
    kind: Literal["dog"]
    name: str


class Config(BaseModel, extra="forbid"):
    count: int = Field(3, ge=0)
    title: str
    note: Annotated[str, Field(min_length=2)] = "ab"
    free: JsonValue = None
    level: Literal["low", "high"] = "low"
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    tags: list[int] = []
    named: dict[str, float] = {}
    test: Expr = None
    port: str = Field("x", pattern="^[a-z]$", json_schema_extra={LITERAL: True})


@node("sample")
def sample(config: Config, _ctx: Context) -> Json:
    """Show every kind of field."""
    return config.count


@node("sample", version=2, effect=Effect.READ)
def newer(config: Cat, _ctx: Context) -> Json:
    """Be a newer version."""
    return config.lives


REGISTRY = Registry([sample, newer])


def accepts(config: object, type_name: str = "sample@1") -> bool:
    nodes = [{"id": "a", "type": type_name, "config": config}]
    return schema.validator(REGISTRY).is_valid({"name": "x", "definition": {"nodes": nodes}})


def test_the_committed_schema_is_the_one_of_the_built_in_node_types() -> None:
    expected = schema.text(schema.document(Registry.load(["nodes"])))
    assert schema.PUBLISHED.read_text(encoding="utf-8") == expected, "run: python -m engine.schema"


def test_the_committed_schema_is_written_from_the_built_in_node_types(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(schema, "PUBLISHED", tmp_path / "written.json")
    schema.main()
    assert (tmp_path / "written.json").read_text(encoding="utf-8") == schema.text(
        schema.document(Registry.load(["nodes"]))
    )


def test_the_published_schema_is_a_schema_and_bears_its_address() -> None:
    published = json.loads(schema.PUBLISHED.read_text(encoding="utf-8"))
    assert jsonschema_rs.meta.is_valid(published)
    assert published["$id"] == definition.SCHEMA_ID
    assert "node.set@1" in published["$defs"]


def test_the_skeleton_says_the_same_as_the_code() -> None:
    definitions = schema.document(REGISTRY)["$defs"]
    assert set(definitions["id"]["not"]["enum"]) == definition.RESERVED
    assert definitions["duration"]["anyOf"][1]["pattern"] == PATTERN
    assert definitions["effect"]["enum"] == list(Effect)
    retry = definitions["retry"]["properties"]
    assert set(retry) == {*definition.RetryPolicy.__slots__, "except"} - {"excluding"}


@pytest.mark.parametrize(
    "config",
    [
        {"title": "x"},
        {"title": "{{ a }}", "count": "{{ a }}", "note": "{{ a }}", "level": "{% if a %}low{% endif %}"},
        {"title": "x", "pet": "{{ a }}", "tags": "{{ a }}", "named": "{{ a }}"},
        {
            "title": "x",
            "pet": {"kind": "cat", "lives": "{{ 9 }}"},
            "tags": [1, "{{ a }}"],
            "named": {"a": "{{ a }}"},
        },
        {"title": "x", "pet": {"kind": "{{ a }}", "lives": 9}},
        {"title": "x", "free": {"any": ["thing"]}, "test": "count > 3"},
        {"title": "x", "test": True},
    ],
)
def test_a_config_is_accepted_with_values_or_with_templates_in_their_place(config: object) -> None:
    assert accepts(config)


@pytest.mark.parametrize(
    "config",
    [
        {},
        "{{ whole }}",
        {"title": 5},
        {"title": "x", "count": -1},
        {"title": "x", "count": "5"},
        {"title": "x", "note": "a"},
        {"title": "x", "level": "middle"},
        {"title": "x", "pet": {"kind": "cat"}},
        {"title": "x", "pet": {"kind": "cat", "lives": 0}},
        {"title": "x", "tags": ["one"]},
        {"title": "x", "named": {"a": "one"}},
        {"title": "x", "port": "{{ a }}"},
        {"title": "x", "other": 1},
    ],
)
def test_what_is_neither_fitting_nor_a_template_is_refused(config: object) -> None:
    assert not accepts(config)


def test_a_node_without_the_config_it_needs_is_refused() -> None:
    nodes: list[dict[str, Any]] = [{"id": "a", "type": "sample@1"}]
    assert not schema.validator(REGISTRY).is_valid({"name": "x", "definition": {"nodes": nodes}})


def test_a_type_without_version_is_the_newest() -> None:
    cat = {"kind": "cat", "lives": 9}
    assert [accepts(cat, name) for name in ("sample", "sample@2", "sample@1", "sample@3", "other")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_no_schema_is_ever_fetched_from_the_network_or_a_file(tmp_path: Path) -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    local = tmp_path / "local.json"
    local.write_text("{}", encoding="utf-8")
    try:
        for reference in (f"http://127.0.0.1:{server.server_port}/x", local.as_uri(), "other.json"):
            with pytest.raises(jsonschema_rs.ValidationError):
                schema.compiled({"properties": {"a": {"$ref": reference}}})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == []


def test_a_pattern_of_an_author_is_matched_in_linear_time() -> None:
    validator = schema.compiled({"pattern": "^(a+)+$"})
    assert not validator.is_valid("a" * 100_000 + "b")
    with pytest.raises(jsonschema_rs.ValidationError):
        schema.compiled({"pattern": "^(?=a)a$"})


def test_an_editor_knows_what_stands_in_a_nested_definition() -> None:
    def document(inside: object) -> dict[str, object]:
        call = {"id": "call", "type": "workflow", "config": {"definition": inside}}
        return {"name": "w", "definition": {"nodes": [call]}}

    fits = schema.validator(Registry.load(["nodes"])).is_valid
    assert fits(document({"nodes": [{"id": "a", "type": "noop"}]}))
    assert not fits(document({"nodes": [{"id": "a", "type": "nope"}]}))
    assert not fits(document({"edges": []}))
