from __future__ import annotations

import pytest

from engine.canvas import TASK
from worker.application import app
from worker.tasks import perform


def test_there_is_one_task_and_no_other_pool_may_run_it() -> None:
    assert perform.name == TASK
    assert [each for each in app.tasks if each.startswith("celeriac.")] == [TASK]
    with pytest.raises(RuntimeError, match="worker_pool"):
        perform([])
