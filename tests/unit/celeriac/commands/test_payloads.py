from __future__ import annotations

import io
from pathlib import Path

import pytest

from celeriac.client import Refused
from celeriac.commands import payloads


def test_json_is_read_from_the_words_a_file_or_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "i.json").write_text('{"a": "ü"}', encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("[1]"))
    assert payloads.read('{"a": 1}') == {"a": 1}
    assert payloads.read(f"@{tmp_path / 'i.json'}") == {"a": "ü"}
    assert payloads.read("@-") == [1]


def test_nothing_given_is_an_empty_object() -> None:
    assert payloads.read(None) == {}


@pytest.mark.parametrize("text", ["{", "Infinity", "name=Ada", "[" * 100_000, ""])
def test_what_is_no_json_is_told_with_an_example(text: str) -> None:
    with pytest.raises(Refused) as refused:
        payloads.read(text)
    assert refused.value.code == "input.invalid_json"
    assert "--input '{" in str(refused.value.hint)


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(Refused) as refused:
        payloads.read("@/no/such/file")
    assert refused.value.code == "file.unreadable"
