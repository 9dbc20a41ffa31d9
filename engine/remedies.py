"""What to do about a failure, by its code: the next thing to try, for whoever reads about it."""

from __future__ import annotations

_BY_CODE = {
    "node.timeout": "Give the node more time (`timeout`), or find out what it waits for.",
    "timeout.queue": "Start workers for the node's queue, or more of them.",
    "timeout.heartbeat": "Find out where the node stands still, or allow it more time (`timeout.heartbeat`).",
    "node.crashed": "The node type has a fault: correct it, or tell whoever wrote it.",
    "node.unknown_type": "Install the package that offers this node type on every worker.",
    "node.config_invalid": "Correct the node's config, or what its expressions come to.",
    "node.output_too_large": "Keep less in the output, or raise CELERIAC_LIMIT_OUTPUT_BYTES.",
    "effect.uncertain": "Find out whether it happened before anything is repeated.",
    "execution.timed_out": "Give the workflow more time (`timeout`), or find out what took it.",
    "execution.cancelled": "Somebody cancelled it.",
}
_BY_AREA = {
    "expression": "Correct the expression, and push the definition again.",
    "egress": "If the address is right, allow it in CELERIAC_EGRESS_ALLOW.",
    "connection": "Look at it with: celeriac connections list.",
}


def remedy(code: str) -> str | None:
    """Return what helps against an error of this code, if anything general does."""
    return _BY_CODE.get(code) or _BY_AREA.get(code.partition(".")[0])
