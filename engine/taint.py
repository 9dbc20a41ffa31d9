"""What models say is foreign: as if a stranger had written it. It may be worked with, and may not choose.

Which fields of a config choose is for its node type to say (`TRUSTED`).
"""

from __future__ import annotations

from functools import cache

from celeriac import Json, NodeType
from celeriac.contract import TRUSTED


@cache
def trusted_fields(node_type: NodeType) -> dict[str, Json]:
    """Return the fields of a config that nothing foreign may choose: by name, with `True` or `"host"`."""
    properties = node_type.config_schema().get("properties", {})
    return {name: each[TRUSTED] for name, each in properties.items() if TRUSTED in each}
