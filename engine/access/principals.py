"""Who acts, and what that one may do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.access.roles import Permission, permitted
from engine.approvals import NOBODY, person_of
from engine.errors import Forbidden, Invalid, NotFound
from engine.settings import DEFAULT_PROJECT

KEEPER = "keeper"
"""The id of the keeper: whoever shows the installation's own token."""


class ProjectUnknown(NotFound):
    """There is no such project."""

    code = "project.unknown"


class ProjectUnnamed(Invalid):
    """You are in several projects, and the request does not say which one it means."""

    code = "project.unnamed"


class NoProject(Forbidden):
    """You are in no project."""

    code = "project.none"


@dataclass(frozen=True, slots=True)
class Place:
    """A project as one principal has it: what it may do there, and the groups that approvals know it by."""

    project: str
    name: str
    permissions: frozenset[Permission] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


_DEFAULT = Place(DEFAULT_PROJECT, "default")


@dataclass(frozen=True, slots=True)
class Principal:
    """A user, a program with a key, or the keeper.

    `name` is what rows remember. `owns` is true for whoever owns the installation: it may do everything everywhere.
    `session` is the session that a user's token belongs to.
    """

    id: str
    name: str
    kind: Literal["keeper", "user", "key"]
    owns: bool = False
    places: Mapping[str, Place] = field(default_factory=dict)
    session: str | None = None
    groups: frozenset[str] = frozenset()
    """Groups that the keeper says it acts for."""

    @property
    def person(self) -> str:
        """Whose voice it is: a program's is that of whoever made its key."""
        return person_of(self.name)

    def home(self) -> Place:
        """Return the project that is meant when none is named. Raises `ProjectUnnamed` or `NoProject`."""
        if self.owns:
            return _DEFAULT
        found = self.places.get(DEFAULT_PROJECT)
        if found is None and len(self.places) == 1:
            (found,) = self.places.values()
        if found is None:
            if not self.places:
                raise NoProject(hint="Whoever manages a project can let you in.")
            names = ", ".join(sorted(each.name for each in self.places.values()))
            raise ProjectUnnamed(hint=f"Name it in the header X-Celeriac-Project. You are in: {names}.")
        return found

    def place(self, reference: str) -> Place | None:
        """Return a project by id or name, if this principal is in it."""
        found = self.places.get(reference)
        if found is None:
            found = next((each for each in self.places.values() if each.name == reference), None)
        return found

    def may(self, permission: Permission, place: Place | None = None) -> bool:
        """Whether it may do something, in a project or, without one, to the installation."""
        return self.owns or (place is not None and permission in place.permissions)


def unknown(reference: str) -> ProjectUnknown:
    """Return the refusal of a project that is not there, or not for whoever asks."""
    return ProjectUnknown(
        f"There is no project {reference!r}.", hint="celeriac projects list shows what there is."
    )


def keeper(name: str = NOBODY, groups: frozenset[str] = frozenset()) -> Principal:
    """Return whoever shows the installation's token, acting for `name`."""
    return Principal(KEEPER, name, "keeper", owns=True, groups=groups)


def placed(project: str, name: str, roles: frozenset[str], groups: frozenset[str]) -> Place:
    """Return a user's place in a project."""
    return Place(project, name, permitted(roles), roles, groups)
