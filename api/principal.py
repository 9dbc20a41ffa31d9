"""Who a request acts for, once its route's declaration has let it in."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from engine.access.principals import Place, Principal


def of(connection: HTTPConnection) -> Principal:
    """Return who acts."""
    found: Principal = connection.scope["state"]["principal"]
    return found


def place(connection: HTTPConnection) -> Place:
    """Return the project that the request is about, as this principal has it."""
    found: Place = connection.scope["state"]["place"]
    return found


def project(connection: HTTPConnection) -> str:
    """Return the id of the project that the request is about. Everything a route reads or writes is in it."""
    return place(connection).project


def named(connection: HTTPConnection) -> str:
    """Return the name that rows shall remember; "" for a keeper who acts for nobody."""
    person = of(connection)
    unnamed = person.kind == "keeper" and not connection.scope["state"].get("acting")
    return "" if unnamed else person.name


def groups(connection: HTTPConnection) -> frozenset[str]:
    """Return what approvals may know the principal by: its roles in the project, and its groups."""
    person, here = of(connection), place(connection)
    return person.groups | here.roles | here.groups
