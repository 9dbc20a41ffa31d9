from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from celeriac.commands.program import Kept, Program
from engine.errors import Unavailable

READY = "import os; os.write(int(os.environ['FD']), b'x'); "


async def started(code: str, patience: float = 5.0, within: float = 20.0) -> Program:
    line = [sys.executable, "-c", code]
    return await Program.start(line, dict(os.environ), ready="FD", within=within, patience=patience)


async def test_a_program_is_ready_when_it_says_so_and_ends_when_asked() -> None:
    program = await started(READY + "import time; time.sleep(60)")
    assert program.process.returncode is None
    await program.stop()
    assert program.process.returncode == -signal.SIGTERM


async def test_a_program_that_does_not_listen_is_killed() -> None:
    code = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        + READY
        + "import time; time.sleep(60)"
    )
    program = await started(code, patience=0.2)
    await program.stop()
    assert program.process.returncode == -signal.SIGKILL


async def test_a_program_that_ends_before_it_is_ready_is_told_with_its_code() -> None:
    with pytest.raises(Unavailable) as refused:
        await started("import sys; sys.exit(3)")
    assert "exit code 3" in refused.value.message


async def test_a_program_that_is_never_ready_is_ended() -> None:
    with pytest.raises(Unavailable):
        await started("import time; time.sleep(60)", within=0.3)


async def test_a_kept_program_is_started_again_and_says_so() -> None:
    said: list[str] = []
    back = asyncio.Event()

    def changed(what: str) -> None:
        said.append(what)
        if "back" in what:
            back.set()

    async def start() -> Program:
        return await started(READY + "import time; time.sleep(60)")

    kept = Kept("worker", await start(), start, changed)
    before = kept.current.process
    before.kill()
    async with asyncio.timeout(20):
        await back.wait()
    assert kept.current.process.pid != before.pid
    assert said == ["the worker died (SIGKILL); starting it again", "the worker is back"]
    await kept.stop()
    assert kept.current.process.returncode == -signal.SIGTERM
