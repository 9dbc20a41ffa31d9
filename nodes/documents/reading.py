"""The text of a document, JSON or YAML, as a value. Hostile text costs no more than its length."""

from __future__ import annotations

import json
from typing import Any

from celeriac import Fail

MOST_BYTES = 10_000_000


def read(text: str) -> dict[str, Any]:
    """Return a document. Raises `Fail` (`document.unreadable`)."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise Fail("document.unreadable", f"The document is larger than {MOST_BYTES:,} bytes.")
    try:
        found = json.loads(text) if text.lstrip()[:1] == "{" else _yaml(text)
    except (ValueError, RecursionError) as error:
        raise Fail("document.unreadable", f"The document is neither JSON nor YAML: {error}") from error
    if not isinstance(found, dict):
        raise Fail("document.unreadable", "The document is no object.")
    return found


def _yaml(text: str) -> Any:
    """Read YAML without aliases, which let a kilobyte mean gigabytes, and with dates as the text they are."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]  # the one in C where there is one
        """Leaves dates alone."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in base.yaml_implicit_resolvers.items()
    }
    try:
        if "*" in text:
            alias = next(
                (each for each in yaml.parse(text, Loader) if isinstance(each, yaml.AliasEvent)), None
            )
            if alias is not None:
                message = f"it has an alias, *{alias.anchor}, which is not followed"
                raise ValueError(message)
        return json.loads(json.dumps(yaml.load(text, Loader), default=str))  # noqa: S506  a safe one
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
