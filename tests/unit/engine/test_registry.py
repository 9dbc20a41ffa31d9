from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import Context, Json, NodeType, node
from engine import registry
from engine.errors import CeleriacError, Misconfigured
from engine.registry import ENTRY_POINTS, Registry, UnknownNodeType


class Config(BaseModel):
    """Nothing."""


def made(name: str, version: int = 1) -> NodeType:
    @node(name, version=version)
    def run(config: Config, _ctx: Context) -> Json:
        """Return nothing."""

    return run


A1, A2, B1 = made("a"), made("a", 2), made("b")


def test_a_name_means_its_newest_version() -> None:
    found = Registry([A1, A2, B1])
    assert found.get("a") is A2
    assert found.get("a", 1) is A1
    assert found.resolve("a") is A2
    assert found.resolve("a@1") is A1
    assert found.resolve("b@1") is B1


def test_the_newest_versions_are_listed_by_name_and_all_versions_on_request() -> None:
    found = Registry([B1, A2, A1])
    assert found.names() == ["a", "b"]
    assert list(found) == [A2, B1]
    assert set(found.everything()) == {A1, A2, B1}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("c", "The node type c is not installed here."),
        ("a@3", "The node type a@3 is not installed here."),
        ("a@0", "The node type a@0 is not installed here."),
        ("a@new", "'a@new' is no node type: after @ comes a whole number."),
        ("a@-1", "'a@-1' is no node type: after @ comes a whole number."),
    ],
)
def test_what_is_not_installed_is_refused_with_a_remedy(reference: str, message: str) -> None:
    with pytest.raises(UnknownNodeType) as caught:
        Registry([A1]).resolve(reference)
    assert (caught.value.code, caught.value.message) == ("node.unknown_type", message)
    assert caught.value.hint


def test_one_name_and_version_is_offered_by_one_module_only() -> None:
    with pytest.raises(CeleriacError, match="a@1 is offered twice"):
        Registry([A1, made("a")])
    assert Registry([A1, A1]).get("a") is A1


def test_modules_and_installed_packages_offer_node_types(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = EntryPoint("flow", "nodes.flow.noop_offer", ENTRY_POINTS)
    asked: list[Any] = []

    def entry_points(**given: Any) -> list[EntryPoint]:
        asked.append(given)
        return [offered]

    class Module:
        NODE_TYPES = (A1,)

    def load(name: str) -> Any:
        return {"mine": Module, "nodes.flow.noop_offer": type("M", (), {"NODE_TYPES": (B1,)})}[name]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    monkeypatch.setattr("engine.registry.importlib.import_module", load)
    assert Registry.load(["mine"]).names() == ["a", "b"]
    assert asked == [{"group": ENTRY_POINTS}]


@pytest.mark.parametrize(
    ("module", "message"),
    [("no_such_module", "cannot be loaded: No module named"), ("json", "offers no NODE_TYPES")],
)
def test_a_module_that_offers_nothing_is_not_passed_over(module: str, message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        Registry.load([module])
    assert "CELERIAC_NODES" in (caught.value.hint or "")
