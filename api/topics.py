"""Topics: what somebody who follows events wants to hear of, in the words of the API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from api.hub import About
from celeriac import Json
from engine import queries, workflow_queries
from engine.errors import Invalid
from engine.feed import Entry, Place
from engine.listing import Body
from engine.speech import KIND
from engine.store.database import Connection

ALL = "project"
_TYPES = 20
"""How many patterns of types one topic may have."""
_AT_ONCE = 500
"""Events that are read of a history at a time."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Events of a project, of one workflow in it, or of one execution; only those of some types, if any are named.

    `types` are patterns such as `execution.*`.
    """

    name: str
    project: str
    workflow: str | None = None
    execution: str | None = None
    types: tuple[str, ...] = ()

    def wants(self, about: About) -> bool:
        """Whether there may be something for it in a row of the feed, or in a piece."""
        return (
            about.project == self.project
            and self.workflow in (None, about.workflow)
            and self.execution in (None, about.execution)
        )

    @property
    def hears(self) -> bool:
        """Whether it is told what nodes say: of one execution unless its types leave that out, otherwise if they name it."""
        return (self.execution is not None or bool(self.types)) and self.takes({"type": KIND})

    def takes(self, event: Body) -> bool:
        """Whether it wants an event of a row that it wants."""
        return not self.types or any(fnmatchcase(str(event["type"]), each) for each in self.types)

    def chosen(self, entry: Entry) -> Iterator[tuple[Place, Body]]:
        """Yield the events it wants, each with the place behind it."""
        for index, event in enumerate(entry.events):
            if self.takes(event):
                yield entry.behind(index), event


def find(connection: Connection, name: str, project: str, types: tuple[str, ...] = ()) -> Topic:
    """Return the topic of a name: `project`, `workflows/NAME` or `executions/ID`. Raises `Invalid` or `NotFound`."""
    kind, _, reference = name.partition("/")
    if name == ALL:
        return Topic(name, project, types=types)
    if kind == "workflows" and reference:
        return Topic(
            name, project, str(workflow_queries.workflow_id(connection, reference, project)), types=types
        )
    if kind == "executions" and reference:
        return of_execution(connection, reference, project, types)
    message = f"{name[:100]!r} is no topic."
    raise Invalid(message, hint="Follow `project`, `workflows/NAME` or `executions/ID`.")


def of_execution(connection: Connection, reference: str, project: str, types: tuple[str, ...] = ()) -> Topic:
    """Return the topic of one execution. Raises `NotFound`."""
    queries.is_there(connection, reference, project)
    return Topic(f"executions/{reference}", project, execution=reference, types=types)


def history(connection: Connection, topic: Topic, after: int, limit: int) -> tuple[list[Body], bool]:
    """Return events that the topic of an execution wants, behind a sequence number, and whether no more will come."""
    found: list[Body] = []
    while True:
        read, final = queries.events(connection, str(topic.execution), after, _AT_ONCE, topic.project)
        found += [each for each in read if topic.takes(each)]
        if len(found) >= limit or len(read) < _AT_ONCE:
            return found[:limit], final and len(found) <= limit
        after = int(str(read[-1]["seq"]))


def types_of(value: Json) -> tuple[str, ...]:
    """Read patterns of types: a list of texts, or one text with commas between them. Raises `Invalid`."""
    listed = [each for each in value.split(",") if each] if isinstance(value, str) else value
    if listed is None:
        return ()
    if (
        not isinstance(listed, list)
        or len(listed) > _TYPES
        or not all(isinstance(each, str) and 0 < len(each) <= 100 for each in listed)
    ):
        message = f"`types` are at most {_TYPES} patterns of types."
        raise Invalid(message, hint="For example execution.* or node.failed.")
    return tuple(str(each) for each in listed)
