"""Celery processes: `celery -A worker worker` and `celeriac worker` both start here.

The consumer is Celery's, in the main thread. Everything else of a worker lives beside it: the event loop that performs
segments, the ledger, the heartbeat, the poller, and children for nodes that compute.
"""

from worker.application import app

__all__ = ["app"]
