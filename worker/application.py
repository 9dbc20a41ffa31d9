"""The Celery application of this process, from its environment."""

from __future__ import annotations

from engine.broker import make_app
from engine.settings import from_environment
from worker.consumer import make_sturdy

settings = from_environment()
app = make_app(settings)
make_sturdy()
