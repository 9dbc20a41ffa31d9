from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from engine.errors import Misconfigured
from engine.settings import Limits, Settings, Timing, from_environment


def test_without_a_word_the_embedded_stack_in_the_users_data_is_meant() -> None:
    found = from_environment({"HOME": "/home/ann"})
    data = Path("/home/ann/.local/share/celeriac")
    assert found == Settings(f"sqlite:///{data}/celeriac.db", f"redis+socket://{data}/valkey.sock", data)
    assert found.sqlite
    assert found.sqlite_path == data / "celeriac.db"


def test_the_data_directory_follows_the_desktops_rules() -> None:
    assert from_environment({"XDG_DATA_HOME": "/d", "HOME": "/h"}).data == Path("/d/celeriac")
    assert from_environment({"CELERIAC_DATA": "/mine", "XDG_DATA_HOME": "/d"}).data == Path("/mine")
    assert from_environment({"CELERIAC_DATA": "mine"}).data == Path.cwd() / "mine"


def test_everything_can_be_said() -> None:
    found = from_environment(
        {
            "CELERIAC_DATA": "/d",
            "DATABASE_URL": "postgresql://u:p@host/name",
            "BROKER_URL": "amqp://host",
            "CELERIAC_NODES": "nodes, mine ,",
            "CELERIAC_EGRESS_ALLOW": "10.0.0.0/8",
            "CELERIAC_SECRET_KEY": "key",
            "CELERIAC_FILES": "/files",
            "CELERIAC_DECLARATIONS": "/declared",
            "CELERIAC_QUEUES": "a,b",
            "CELERIAC_CHILDREN": "3",
            "CELERIAC_WINDOW": "9",
            "CELERIAC_MONITOR": "1",
            "CELERIAC_API_HOST": "0.0.0.0",  # noqa: S104  the text is not listened on
            "CELERIAC_API_PORT": "80",
            "CELERIAC_API_HOSTS": "a.example,b.example",
            "CELERIAC_API_TOKEN": "token",
            "CELERIAC_LIMIT_NODES": "7",
            "CELERIAC_TIMING_LEASE": "100",
        }
    )
    assert found == Settings(
        "postgresql://u:p@host/name",
        "amqp://host",
        Path("/d"),
        node_modules=("nodes", "mine"),
        egress_allow="10.0.0.0/8",
        files_folder=Path("/files"),
        declarations_folder=Path("/declared"),
        secret_key="key",
        queues=("a", "b"),
        children=3,
        window=9,
        monitor=True,
        api_host="0.0.0.0",  # noqa: S104  the text is not listened on
        api_port=80,
        api_hosts=("a.example", "b.example"),
        api_token="token",
        limits=Limits(nodes=7),
        timing=Timing(lease=100),
    )
    assert not found.sqlite


def test_the_old_name_of_postgresql_is_understood() -> None:
    assert from_environment({"DATABASE_URL": "postgres://h/n"}).database_url == "postgresql://h/n"


@pytest.mark.parametrize("url", ["mysql://h/n", "sqlite://", "/a/path", "h"])
def test_a_database_nobody_knows_is_refused_with_the_forms_that_are(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        from_environment({"DATABASE_URL": url})
    assert "DATABASE_URL" in caught.value.message
    assert "postgresql://" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["CELERIAC_CHILDREN", "CELERIAC_LIMIT_NODES", "CELERIAC_TIMING_GRACE"])
@pytest.mark.parametrize("text", ["-1", "1.5", "many", " 1"])
def test_a_number_that_is_none_is_refused_with_its_name_and_default(name: str, text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        from_environment({name: text})
    assert name in caught.value.message
    assert "default" in (caught.value.hint or "")


def test_every_limit_and_every_rhythm_has_a_variable() -> None:
    for kind, prefix, attribute in ((Limits, "LIMIT", "limits"), (Timing, "TIMING", "timing")):
        for each in dataclasses.fields(kind):
            found = getattr(from_environment({f"CELERIAC_{prefix}_{each.name.upper()}": "123"}), attribute)
            assert getattr(found, each.name) == 123


def test_a_token_is_not_shown() -> None:
    assert "hidden" not in repr(from_environment({"CELERIAC_API_TOKEN": "hidden"}))
