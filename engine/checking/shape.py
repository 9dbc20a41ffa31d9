"""What does not fit the schema, in words for the author.

A validator knows keywords; an author knows keys and values. Each keyword has its sentence here. Of
alternatives that all fail, only the one is explained that the author was most likely writing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from jsonschema_rs import ValidationError, ValidationErrorKind

from celeriac import Json
from engine import schema
from engine.checking.finding import Finding, Guesses, did_you_mean, listed
from engine.checking.outline import BODY, TRIGGERS, Outline
from engine.checking.source import Path
from engine.definition import SCOPE, TRIGGER
from engine.registry import Registry

_KINDS: Final = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_CODES: Final[Mapping[tuple[str | int, ...], str]] = {
    ("$defs", "id", "not"): "definition.reserved_id",
    ("$defs", "id", "pattern"): "definition.bad_id",
    ("$defs", "name", "pattern"): "definition.bad_id",
    ("$defs", "node_type", "enum"): "definition.unknown_node_type",
    ("$defs", "work_type", "enum"): "definition.unknown_node_type",
    ("$defs", "trigger_type", "enum"): "definition.unknown_trigger_type",
}
_SHOWN: Final = 40
"""The characters of a value that a message repeats."""

_EXPLAINED: Final = 20_000
"""The values of one part that are looked at for words; a node written by hand has a hundred."""

_Schema = Mapping[str, Any]


def misfits(
    document: Json, outline: Outline, registry: Registry, guesses: Guesses, most: int
) -> list[Finding]:
    """Return what in a document its schema does not allow, at most so many; nothing, when it fits."""
    if schema.validator(registry).is_valid(document):
        return []
    readers = [
        (_Reader(document, part, path, registry, guesses), value)
        for part, value, path in _parts(document, outline)
    ]
    reads = (each for reader, value in readers for each in reader.reads(value))
    found = list(islice(reads, most))
    if not found and all(reader.fits(value) for reader, value in readers):
        return []  # It is a nested definition that does not, and that is looked at by itself.
    if not found:
        message = f"A part of the document does not fit, after the first {_EXPLAINED:,} values in it."
        return [Finding((), "definition.bad_value", message, "Make it smaller: data does not belong here.")]
    misspelt = {(each.finding.path[:-1], each.meant) for each in found if each.meant is not None}
    kept = [each.finding for each in found if (each.finding.path, each.missing) not in misspelt]
    return list(dict.fromkeys(kept))


def _parts(document: Json, outline: Outline) -> Iterator[tuple[schema.Part, Json, Path]]:
    """Yield the document without its nodes and edges, and then each of these, with its place.

    The validator finds all mistakes before it tells the first. Asked part by part, it need not look for a million.
    """
    hollow = document
    if isinstance(document, dict) and "definition" in document:
        hollow = {**document, "definition": _hollow(document["definition"])}
    yield "document", hollow, ()
    for index, each in enumerate(_steps(document)):
        yield "step", each, ("definition", "steps", index)
    for region in outline.regions:
        for index, each in enumerate(region.nodes):
            yield "node", _without_parts(each), (*region.path, "nodes", index)
        for index, each in enumerate(region.edges):
            yield "edge", each, (*region.path, "edges", index)


def _steps(document: Json) -> list[Json]:
    body = document.get("definition") if isinstance(document, dict) else None
    steps = body.get("steps") if isinstance(body, dict) else None
    return steps if isinstance(steps, list) else []


def _without_parts(node: Json) -> Json:
    """Return a node without the nodes and edges in its bodies."""
    if not isinstance(node, dict) or node.keys().isdisjoint(("body", "catch", "finally")):
        return node
    found = {key: _hollow(each) if key in ("body", "finally") else each for key, each in node.items()}
    handlers = node.get("catch")
    if isinstance(handlers, list):
        found["catch"] = [
            {**each, "body": _hollow(each["body"])} if isinstance(each, dict) and "body" in each else each
            for each in handlers
        ]
    return found


def _hollow(graph: Json) -> Json:
    """Return a graph with something empty in place of its nodes and its edges."""
    if not isinstance(graph, dict):
        return graph
    filled: dict[str, Json] = {
        key: [None] for key in ("nodes", "edges", "steps") if isinstance(graph.get(key), list) and graph[key]
    }
    return {**graph, **filled}


def _clipped(value: Json, room: list[int]) -> Json:
    """Return the beginning of a value: as many of the values in it as there is room for."""
    if isinstance(value, list):
        items: list[Json] = []
        for each in value:
            if room[0] <= 0:
                break
            room[0] -= 1
            items.append(_clipped(each, room))
        return items
    if isinstance(value, dict):
        members: dict[str, Json] = {}
        for key, each in value.items():
            if room[0] <= 0:
                break
            room[0] -= 1
            members[key] = _clipped(each, room)
        return members
    return value


class _Read(NamedTuple):
    """A finding, and what makes two of them one mistake: a key that is missing, and the one it was misspelt
    as.
    """

    finding: Finding
    missing: str | None = None
    meant: str | None = None


class _Place(NamedTuple):
    """Where in the schema an error comes from: the object that holds the keyword, and the nearest
    description.
    """

    holder: _Schema
    about: str | None


class _Reader:
    """Reads the validator's errors on one part of a document."""

    def __init__(
        self, document: Json, part: schema.Part, path: Path, registry: Registry, guesses: Guesses
    ) -> None:
        self._document = document
        self._kind = part
        self._part = path
        self._root, self._validator = schema.part(registry, part)
        self._registry = registry
        self._guesses = guesses

    def fits(self, value: Json) -> bool:
        """Whether the part is right, apart from what is looked at by itself."""
        return self._validator.is_valid(value)

    def reads(self, value: Json) -> Iterator[_Read]:
        """Yield everything that does not fit in the part."""
        if not self.fits(value):
            for error in self._validator.iter_errors(_clipped(value, [_EXPLAINED])):
                yield from self._read(error)

    def _read(self, error: ValidationError) -> Iterator[_Read]:
        """Yield what one error means."""
        path: Path = (*self._part, *error.instance_path)
        if isinstance(error.kind, ValidationErrorKind.PropertyNames):
            yield self._bad_key(path, error.kind.error)
            return
        place = self._place(tuple(error.evaluation_path))
        match error.kind:
            case ValidationErrorKind.AdditionalProperties(unexpected=names):
                for name in names:
                    yield self._unknown_key(path, name, place)
            case ValidationErrorKind.Required(property=name):
                yield self._missing_key(path, name, place)
            case ValidationErrorKind.AnyOf(context=branches):
                yield from self._alternatives(path, branches, place)
            case ValidationErrorKind.OneOfNotValid() | ValidationErrorKind.OneOfMultipleValid():
                if isinstance(self._at(path), dict) or "type" not in place.holder:
                    yield self._exactly_one(path, place)
            case _:
                yield self._bad_value(path, error, place)

    def _unknown_key(self, path: Path, name: str, place: _Place) -> _Read:
        known = sorted(place.holder.get("properties", ()))
        meant = self._guesses.nearest(name, known)
        elsewhere = self._belongs_elsewhere(path, name)
        otherwise = f"It can have {listed(known, 20)}." if known else "It has no keys at all."
        message = f"{self._subject(path)} has no key {_quoted(name)}."
        finding = Finding(
            (*path, name),
            self._config_code(path) or "definition.unknown_key",
            message,
            elsewhere or did_you_mean(meant and _quoted(meant), otherwise),
            key=True,
        )
        return _Read(finding, meant=None if elsewhere else meant)

    def _belongs_elsewhere(self, path: Path, name: str) -> str | None:
        """Say where a key belongs that stands one level too high or too low, as keys often do."""
        root = self._root
        if path == () and name in root["$defs"]["definition"]["properties"]:
            return "Move it into `definition`."
        if path == ("definition",) and name in root["properties"]:
            return "Move it out of `definition`, to stand beside it."
        if self._kind == "node" and path == self._part:
            reference = self._at(path).get("type")
            if reference == SCOPE and name in root["$defs"]["body"]["properties"]:
                return "Move it into `body`."
            names = self._registry.names()
            config = (
                root["$defs"].get(f"node.{self._registry.get(reference).key}", {})
                if reference in names
                else {}
            )
            if name in config.get("properties", {}):
                return "Move it into `config`."
        return None

    def _missing_key(self, path: Path, name: str, place: _Place) -> _Read:
        wanted = self._resolved(place.holder.get("properties", {}).get(name, {"description": place.about}))
        hint = (
            f"It has to hold {listed(wanted['required'])}."
            if wanted.get("required")
            else wanted.get("description")
        )
        message = f"{self._subject(path)} needs the key {_quoted(name)}."
        finding = Finding(path, self._config_code(path) or "definition.missing_key", message, hint)
        return _Read(finding, missing=name)

    def _bad_key(self, path: Path, inner: ValidationError) -> _Read:
        name = str(inner.instance)
        about = self._place(tuple(inner.evaluation_path)).about
        message = f"{_quoted(name)} cannot be a key of {self._subject(path, start=False)}."
        code = self._config_code(path) or _CODES.get(tuple(inner.schema_path)[:3], "definition.bad_value")
        return _Read(Finding((*path, name), code, message, about, key=True))

    def _exactly_one(self, path: Path, place: _Place) -> _Read:
        choices = [each.get("required", []) for each in place.holder["oneOf"]]
        names = [_quoted(name) for each in choices for name in each]
        given = self._at(path)
        both = isinstance(given, dict) and sum(name in given for each in choices for name in each) > 1
        verb = "can have only one of" if both else "needs one of"
        message = f"{self._subject(path)} {verb} {' and '.join(names)}."
        return _Read(
            Finding(
                path, self._config_code(path) or "definition.bad_value", message, "Write exactly one of them."
            )
        )

    def _alternatives(
        self, path: Path, branches: Sequence[Sequence[ValidationError]], place: _Place
    ) -> Iterator[_Read]:
        """Explain the branch that came nearest: one of the value's own type, with the fewest mistakes."""
        here = path[len(self._part) :]
        written = [each for each in branches if not _is_template(each)]
        near = [each for each in written if not any(_refuses_type(error, here) for error in each)]
        if near:
            for error in min(
                near, key=lambda each: (sum(_refuses_choice(error) for error in each), len(each))
            ):
                yield from self._read(error)
            return
        wanted = [
            name
            for each in written
            for error in each
            if _refuses_type(error, here)
            for name in _wanted(error)
        ]
        message = f"{self._subject(path)} has to be {listed(list(dict.fromkeys(wanted)))}, not {_kind(self._at(path))}."
        yield _Read(Finding(path, self._config_code(path) or "definition.wrong_type", message, place.about))

    def _bad_value(self, path: Path, error: ValidationError, place: _Place) -> _Read:
        value = self._at(path)
        subject = self._subject(path)
        code = self._config_code(path) or _CODES.get(tuple(error.schema_path)[:3], "definition.bad_value")
        hint = place.about
        match error.kind:
            case ValidationErrorKind.Type():
                code = self._config_code(path) or "definition.wrong_type"
                message = f"{subject} has to be {listed(_wanted(error))}, not {_kind(value)}."
                hint = _without_quotes(value, error) or hint
            case ValidationErrorKind.Enum(options=options) if isinstance(value, str):
                message, hint = self._no_option(subject, value, [str(each) for each in options], code, hint)
            case ValidationErrorKind.Enum(options=options):
                code = self._config_code(path) or "definition.wrong_type"
                message = (
                    f"{subject} has to be {listed([_shown(each) for each in options])}, not {_kind(value)}."
                )
            case ValidationErrorKind.Constant(expected_value=expected):
                message = f"{subject} has to be {_shown(expected)}."
            case ValidationErrorKind.Not() if code == "definition.reserved_id":
                message = f"{_shown(value)} is a name that expressions use; nothing else can have it."
                hint = f"Call it {value}_1, or by what it does."
            case ValidationErrorKind.FalseSchema() if "dependentSchemas" in error.evaluation_path:
                message = f"{subject} cannot stand beside {_quoted(str(error.evaluation_path[-3]))}."
            case _:
                message = (
                    f"{subject} {_complaint(error.kind, value, secret=self._config_code(path) is not None)}."
                )
        return _Read(Finding(path, code, message, hint))

    def _no_option(
        self, subject: str, value: str, options: list[str], code: str, about: str | None
    ) -> tuple[str, str | None]:
        if code == "definition.unknown_node_type":
            return self._no_node_type(value, [each for each in options if "@" not in each])
        meant = self._guesses.nearest(value, options)
        hint = did_you_mean(meant and _shown(meant), about)
        return f"{subject} is {_shown(value)}; that is none of {listed(options, 20)}.", hint

    def _no_node_type(self, reference: str, names: list[str]) -> tuple[str, str | None]:
        name, _, version = reference.partition("@")
        if reference == SCOPE:
            return "A scope cannot undo a node: one node does that.", f"Installed: {listed(names)}."
        if name in self._registry.names():
            versions = [str(each.version) for each in self._registry.everything() if each.name == name]
            return (
                f"The node type {name} has no version {version or 'of no name'}.",
                f"Installed: {listed(versions)}. Write {name} for the newest.",
            )
        meant = name if name in names else self._guesses.nearest(name, names)
        hint = did_you_mean(meant, f"Installed: {listed(names)}.")
        return f"There is no node type {_shown(reference)} here.", hint

    def _subject(self, path: Path, *, start: bool = True) -> str:
        """Name a place as a person would: its keys from the node, edge or trigger on, and that one's name."""
        if not path:
            return "The document" if start else "the document"
        owner = self._part or (path[:3] if path[:2] == TRIGGERS and path[2:] else ())
        if not owner:
            return _dotted(path[1:] or path) if path[0] == "definition" else _dotted(path)
        name = self._name(owner)
        if path != owner:
            return f"{_dotted(path[len(owner) :])} of {name}"
        return name[0].upper() + name[1:] if start else name

    def _name(self, path: Path) -> str:
        """Name a node, an edge, a step or a trigger."""
        item = self._at(path)
        given = item if isinstance(item, dict) else {}
        if self._kind == "edge":
            ends = (given.get("from"), given.get("to"))
            if all(isinstance(each, str) for each in ends):
                return f"the edge {ends[0]} -> {ends[1]}"
            return f"edge {int(path[-1]) + 1}"
        word = self._kind if self._kind in ("node", "step") else "trigger"
        name = given.get("id")
        return f"the {word} {name[:_SHOWN]}" if isinstance(name, str) else f"{word} {int(path[-1]) + 1}"

    def _config_code(self, path: Path) -> str | None:
        """Return the code of a mistake in a config; None for a place elsewhere."""
        inner = path[len(self._part) :]
        if self._kind == "document":
            inner = path[2:] if path[:2] == (*BODY, TRIGGER) else path[3:] if path[:2] == TRIGGERS else ()
        if inner[:1] == ("compensate",):
            inner = inner[1:]
        return "definition.bad_config" if inner[:1] == ("config",) else None

    def _at(self, path: Path) -> Any:
        value: Any = self._document
        for key in path:
            value = value[key]
        return value

    def _place(self, evaluation: tuple[str | int, ...]) -> _Place:
        here: Any = self._root
        about = self._root.get("description")
        for step in evaluation[:-1]:
            here = self._resolved(here) if step == "$ref" else here[step]
            if isinstance(here, dict) and isinstance(here.get("description"), str):
                about = here["description"]
        return _Place(here if isinstance(here, dict) else {}, about)

    def _resolved(self, holder: _Schema) -> _Schema:
        reference = holder.get("$ref")
        if reference is None:
            return holder
        found: _Schema = self._root["$defs"][reference.removeprefix("#/$defs/")]
        return found


def _is_template(branch: Sequence[ValidationError]) -> bool:
    return all(error.schema_path[:2] == ["$defs", "template"] for error in branch)


def _refuses_type(error: ValidationError, path: Path) -> bool:
    """Whether the branch was not meant: the value as a whole is of another type."""
    if tuple(error.instance_path) != path:
        return False
    match error.kind:
        case ValidationErrorKind.Type():
            return True
        case ValidationErrorKind.Enum(options=options):
            return not any(type(each) is type(error.instance) for each in options)
        case ValidationErrorKind.AnyOf(context=branches):
            return all(any(_refuses_type(each, path) for each in branch) for branch in branches)
        case _:
            return False


def _refuses_choice(error: ValidationError) -> bool:
    return isinstance(error.kind, ValidationErrorKind.Constant | ValidationErrorKind.Enum)


def _wanted(error: ValidationError) -> list[str]:
    """Return what a value would have to be, for an error that refuses its type."""
    match error.kind:
        case ValidationErrorKind.Type(types=types):
            return [_KINDS[each] for each in types if each != "null" or len(types) == 1]
        case ValidationErrorKind.Enum(options=options):
            return [_shown(each) for each in options]
        case ValidationErrorKind.AnyOf(context=branches):
            return [name for branch in branches for each in branch for name in _wanted(each)]
        case _:
            return []


def _complaint(kind: ValidationErrorKind, value: Any, *, secret: bool) -> str:
    """Finish the sentence about a value that has the right type and is still wrong."""
    match kind:
        case ValidationErrorKind.Pattern():
            return "cannot be this text" if secret else f"cannot be {_shown(value)}"
        case ValidationErrorKind.MinLength(limit=1):
            return "is empty"
        case ValidationErrorKind.MinLength(limit=limit):
            return f"has {len(value)} characters, and needs {limit} at least"
        case ValidationErrorKind.MaxLength(limit=limit):
            return f"has {len(value)} characters, and can have {limit:,} at most"
        case ValidationErrorKind.Minimum(limit=limit):
            return f"is {_shown(value)}, and has to be {_shown(limit)} at least"
        case ValidationErrorKind.Maximum(limit=limit):
            return f"is {_shown(value)}, and can be {_shown(limit)} at most"
        case ValidationErrorKind.ExclusiveMinimum(limit=limit):
            return f"is {_shown(value)}, and has to be more than {_shown(limit)}"
        case ValidationErrorKind.ExclusiveMaximum(limit=limit):
            return f"is {_shown(value)}, and has to be less than {_shown(limit)}"
        case ValidationErrorKind.MultipleOf(multiple_of=step):
            return f"is {_shown(value)}, and has to be a multiple of {step}"
        case ValidationErrorKind.MinItems(limit=1) | ValidationErrorKind.MinProperties(limit=1):
            return "is empty, and needs something in it"
        case ValidationErrorKind.MinItems(limit=limit) | ValidationErrorKind.MinProperties(limit=limit):
            return f"has {len(value)} entries, and needs {limit} at least"
        case ValidationErrorKind.MaxItems(limit=limit) | ValidationErrorKind.MaxProperties(limit=limit):
            return f"has {len(value)} entries, and can have {limit} at most"
        case ValidationErrorKind.FalseSchema():
            return "cannot stand here"
        case ValidationErrorKind.UniqueItems():
            return "has the same entry twice"
        case _:
            return f"breaks the rule {_quoted(kind.name)} of its schema"


def _without_quotes(value: Any, error: ValidationError) -> str | None:
    if not isinstance(value, str) or len(value) > _SHOWN:
        return None
    try:
        meant = json.loads(value)
    except ValueError:
        return None
    wanted = " ".join(_wanted(error))
    fits = (isinstance(meant, bool) and "true" in wanted) or (
        type(meant) in (int, float) and "number" in wanted
    )
    return f"Write {value} without quotes." if fits else None


def _dotted(path: Path) -> str:
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return _quoted(text)


def _quoted(name: str) -> str:
    return f"`{name if len(name) <= _SHOWN * 2 else name[: _SHOWN * 2] + '...'}`"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"the number {_shown(value)}"
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
