from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from celeriac.commands.source import Source


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    (tmp_path / "a.txt").write_text("ü")
    (tmp_path / "b.txt").write_text("b")
    made = Source(tmp_path, failures=1)
    yield made
    made.close()


def get(source: Source, path: str) -> tuple[int, str]:
    answer = httpx2.get(f"http://{source.address}{path}", trust_env=False)
    return answer.status_code, answer.text


def test_each_file_is_out_of_order_at_first_and_then_itself(source: Source) -> None:
    assert [get(source, "/a.txt") for _ in range(3)] == [(503, "out of order\n"), (200, "ü"), (200, "ü")]
    assert get(source, "/b.txt")[0] == 503


@pytest.mark.parametrize("path", ["/", "/c.txt", "/%2e%2e/a.txt", "/a.txt?x"])
def test_nothing_else_is_handed_out(source: Source, path: str) -> None:
    assert get(source, path)[0] == 404
