"""Lay out the wheel: one top-level package, with everything else folded into it.

The build backend maps folders by configuration but not a single file, and its own way to force a file in
would also copy that file into an editable install, where it goes stale.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDED = ("celeryconfig.py", "requirements-models.lock", "examples/office/log_triage.json")
"""Celery's settings, and what `celeriac demo` and `celeriac models install` need; the other examples are for readers of the
checkout."""


class FoldIntoPackage(BuildHookInterface[Any]):
    """Put single files beside the rooms in a built wheel, and nowhere in an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"] |= {each: f"celeriac/_app/{each}" for each in FOLDED}
