"""Node types by name and version, and connection types by name. Loaded by module name, so that the engine imports no node
and built-ins use the same door.

A module offers its node types as `NODE_TYPES`, its connection types, if it has any, as `CONNECTION_TYPES`, and a folder of
declarations, if it has one, as `DECLARATIONS`; installed packages offer modules through the entry point group
`celeriac.nodes`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from celeriac import ConnectionType, NodeType
from engine.errors import CeleriacError, Misconfigured

ENTRY_POINTS = "celeriac.nodes"


class UnknownNodeType(CeleriacError):
    """No node type of this name is installed here."""

    code = "node.unknown_type"


class Registry:
    """An immutable table of node types; `connections` are the connection types by name."""

    def __init__(
        self, node_types: Iterable[NodeType], connection_types: Iterable[ConnectionType] = ()
    ) -> None:
        self.connections: dict[str, ConnectionType] = {}
        for kind in connection_types:
            if self.connections.setdefault(kind.name, kind) is not kind:
                message = f"The connection type {kind.name} is offered twice."
                raise CeleriacError(message, hint="Remove one of the modules that offer it.")
        self._versions: dict[str, dict[int, NodeType]] = {}
        for each in node_types:
            versions = self._versions.setdefault(each.name, {})
            if versions.setdefault(each.version, each) is not each:
                message = f"The node type {each.key} is offered twice."
                raise CeleriacError(message, hint="Remove one of the modules that offer it.")

    def get(self, name: str, version: int | None = None) -> NodeType:
        """Return a node type; without a version the newest. Raises `UnknownNodeType`."""
        versions = self._versions.get(name, {})
        found = versions.get(max(versions) if versions and version is None else version or 0)
        if found is None:
            wanted = name if version is None else f"{name}@{version}"
            message = f"The node type {wanted} is not installed here."
            raise UnknownNodeType(
                message, hint="Install the package that offers it on every worker and API process."
            )
        return found

    def resolve(self, reference: str) -> NodeType:
        """Return the node type a definition names as `name` or `name@version`."""
        name, _, version = reference.partition("@")
        if version and not version.isdecimal():
            message = f"{reference!r} is no node type: after @ comes a whole number."
            raise UnknownNodeType(message, hint=f"Write {name} for the newest version, or {name}@1.")
        return self.get(name, int(version) if version else None)

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self._versions)

    def __iter__(self) -> Iterator[NodeType]:
        """Iterate over the newest version of each name, sorted by name."""
        return (self.get(name) for name in self.names())

    def everything(self) -> Iterator[NodeType]:
        """Iterate over every version of every node type."""
        return (each for versions in self._versions.values() for each in versions.values())

    @classmethod
    def load(cls, modules: Iterable[str], declarations: Path | None = None) -> Registry:
        """Import the named modules and every installed entry point, and collect what they offer. Raises `Misconfigured`.

        `declarations` is a folder of the deployment's own, which need not be there.
        """
        found: list[NodeType] = []
        kinds: list[ConnectionType] = []
        folders: list[Path] = []
        for name in [*modules, *sorted(each.value for each in entry_points(group=ENTRY_POINTS))]:
            module = _module(name)
            found.extend(module.NODE_TYPES)
            kinds.extend(getattr(module, "CONNECTION_TYPES", ()))
            folders.extend([module.DECLARATIONS] if hasattr(module, "DECLARATIONS") else [])
        folders.extend([declarations] if declarations is not None else [])
        for folder in folders:
            declared, declared_kinds = _declared_in(folder)
            found.extend(declared)
            kinds.extend(declared_kinds)
        return cls(found, kinds)


@cache
def _declared_in(folder: Path) -> tuple[list[NodeType], list[ConnectionType]]:
    """Return what a folder declares. It is read once a process."""
    from engine.declared.loading import load

    return load(folder)


def _module(name: str) -> Any:
    """Return a module that offers node types. Raises `Misconfigured` for one that cannot be imported or offers nothing."""
    hint = (
        "CELERIAC_NODES names modules that have a list NODE_TYPES; they must be installed, or on PYTHONPATH."
    )
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        message = f"The node types of {name!r} cannot be loaded: {error}."
        raise Misconfigured(message, hint=hint) from error
    if not hasattr(module, "NODE_TYPES"):
        message = f"The module {name!r} offers no NODE_TYPES."
        raise Misconfigured(message, hint=hint)
    return module
