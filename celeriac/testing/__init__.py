"""The test kit for authors of node types.

    outcome = await run_node(http_request, {"url": server.url}, http=httpx2.AsyncClient())
    assert outcome.value["status"] == 200

    assert await conform(http_request, World({"url": server.url}, http=httpx2.AsyncClient())) == []

Nothing is reached that the test did not hand in: without `http` and `connections` a node has no way out.
"""

from celeriac.testing.calls import DEFAULT_NOW, Connections, Line, OpenLink, Outcome, Paid, Said, run_node
from celeriac.testing.conformance import World, conform

__all__ = [
    "DEFAULT_NOW",
    "Connections",
    "Line",
    "OpenLink",
    "Outcome",
    "Paid",
    "Said",
    "World",
    "conform",
    "run_node",
]
