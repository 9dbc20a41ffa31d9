"""The page of who may what, held against the table in the code and the declarations of the routes.

`python -m tests.docs.test_security` writes its tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.main import create_app
from api.permission import Anyone, Needs, declarations
from engine.access.roles import MEANINGS, PERMISSIONS, ROLES
from engine.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
TABLE = re.compile(r"^\|(?!-).*\n\|---.*\n(?:\|.*\n)*", re.MULTILINE)


def by_role() -> Iterator[str]:
    ladder = ("viewer", "operator", "editor", "admin", "owner", "approver")
    yield f"| permission | what it is | {' | '.join(ladder)} |"
    yield "|---" * (2 + len(ladder)) + "|"
    for each in PERMISSIONS:
        if not each.startswith("installation:"):
            marks = " | ".join("yes" if each in ROLES[role] else "" for role in ladder)  # type: ignore[index]
            yield f"| `{each}` | {MEANINGS[each]} | {marks} |"


def of_the_installation() -> Iterator[str]:
    yield "| permission | what it is |"
    yield "|---|---|"
    for each in PERMISSIONS:
        if each.startswith("installation:"):
            yield f"| `{each}` | {MEANINGS[each]} |"


def by_route(folder: Path) -> Iterator[str]:
    app = create_app(Settings("sqlite:///nowhere", "memory://", folder, api_token="t" * 40), serves=False).app
    yield "| route | asks for |"
    yield "|---|---|"
    for route in sorted(declarations(app), key=lambda each: (each.path, each.method)):
        yield f"| `{route.method} {route.path}` | {asked(route.declared)} |"


def asked(declared: Any) -> str:
    match declared:
        case Anyone(why=why):
            return f"nothing: {why}"
        case Needs(permission=permission):
            return f"`{permission}`"
    return "proof of who it is"


def written(folder: Path) -> str:
    tables = iter(["\n".join(each) + "\n" for each in (by_role(), of_the_installation(), by_route(folder))])
    return TABLE.sub(lambda _: next(tables), PAGE.read_text(encoding="utf-8"))


def test_the_tables_are_those_of_the_code(tmp_path: Path) -> None:
    assert PAGE.read_text(encoding="utf-8") == written(tmp_path)


def test_every_permission_has_a_meaning() -> None:
    assert set(MEANINGS) == set(PERMISSIONS)


if __name__ == "__main__":
    PAGE.write_text(written(Path("/tmp")), encoding="utf-8")
