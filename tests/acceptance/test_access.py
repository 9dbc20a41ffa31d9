"""Users, projects and keys, as people use them: commands and requests at a running installation."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Installation, Said, around, celeriac
from tests.builders import document, node

pytestmark = pytest.mark.timeout(180)

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("access")
    made = Installation(around(folder / "data"), folder / "up.log").start()
    yield made
    made.stop()


def ask(up: Installation, token: str, method: str, path: str, body: object = None, **headers: str) -> Any:
    shown = {name.replace("_", "-"): each for name, each in headers.items()}
    if token:
        shown["Authorization"] = f"Bearer {token}"
    more: dict[str, Any] = {} if body is None else {"json": body}
    return httpx2.request(method, f"{up.told['url']}/api/v1{path}", headers=shown, timeout=30, **more)


def test_a_company_moves_in(up: Installation, tmp_path: Path) -> None:
    def run(*words: str, stdin: str = "", **more: str) -> Said:
        done = celeriac({**up.environment, **more}, *words, "--json", stdin=stdin)
        assert done.code == 0, done.err
        return done

    ada = run("admin", "create", "ada@example.com", "--password-file", "-", stdin=PASSWORD).json
    assert ada["owns"] is True
    invited = run("users", "create", "bob@example.com").json["invitation"]["token"]
    run("projects", "create", "shop", "--owner", "ada@example.com")
    change = run(
        "projects",
        "update",
        "shop",
        "--default-model",
        "gpt-4o",
        "--budget",
        "20",
        "--description",
        "Orders.",
    )
    assert change.json["settings"] == {"default_model": "gpt-4o", "budget_limit": 20}
    run("projects", "grant", "shop", "bob@example.com", "--role", "operator", "--group", "finance")
    assert [each["user"]["name"] for each in run("projects", "members", "shop").json] == [
        "ada@example.com",
        "bob@example.com",
    ]
    session = ask(up, "", "POST", "/auth/accept", {"token": invited, "password": PASSWORD}).json()
    bob = session["access_token"]
    (place,) = ask(up, bob, "GET", "/auth/me").json()["projects"]
    assert (place["name"], place["roles"], place["groups"]) == ("shop", ["operator"], ["finance"])
    shop = {"CELERIAC_PROJECT": "shop"}
    run("push", str(written(tmp_path)), **shop)
    done = ask(up, bob, "POST", "/workflows/greet/execute", {"input": {}}, Prefer="wait=30")
    assert (done.status_code, done.json()["status"]) == (200, "succeeded")
    assert ask(up, bob, "POST", "/workflows", {}).json()["code"] == "request.forbidden"
    key = run("keys", "create", "ci", "--scope", "execution:start", "--days", "1", **shop).json
    started = ask(up, key["key"], "POST", "/workflows/greet/execute", {"input": {}})
    assert started.status_code == 202
    assert ask(up, key["key"], "GET", "/executions").status_code == 403
    run("keys", "revoke", key["id"], **shop)
    assert ask(up, key["key"], "POST", "/workflows/greet/execute", {"input": {}}).status_code == 401
    run("variables", "set", "limit", "10", **shop)
    assert run("variables", "list", **shop).json[0]["value"] == 10
    assert "limit" not in [each["name"] for each in run("variables", "list").json]
    run("users", "disable", "bob@example.com")
    assert ask(up, bob, "GET", "/auth/me").status_code == 401
    deeds = {each["action"] for each in run("audit", "list", "--all", "--limit", "200").json}
    assert {"user:create", "session:open", "member:put", "key:revoke", "variable:put"} <= deeds


def written(folder: Path) -> Path:
    import json

    path = folder / "greet.json"
    path.write_text(json.dumps(document([node("a")], name="greet")), encoding="utf-8")
    return path


def test_the_audit_tells_where_it_was_altered_and_that_its_end_is_missing(up: Installation) -> None:
    celeriac(up.environment, "variables", "set", "a", "1")
    celeriac(up.environment, "variables", "set", "a", "2")
    good = celeriac(up.environment, "audit", "verify", "--json")
    head = good.json["head"]
    assert (good.code, good.json["sound"]) == (0, True)
    database = sqlite3.connect(up.data / "celeriac.db", timeout=30)
    last = database.execute("SELECT max(seq) FROM audit").fetchone()[0]
    kept = database.execute("SELECT * FROM audit WHERE seq = ?", (last,)).fetchone()
    with database:
        database.execute("DELETE FROM audit WHERE seq = ?", (last,))
    assert celeriac(up.environment, "audit", "verify").code == 0
    cut = celeriac(up.environment, "audit", "verify", "--head", head, "--json")
    assert (cut.code, cut.json["sound"], cut.json["broken_at"]) == (1, False, None)
    with database:
        database.execute(f"INSERT INTO audit VALUES ({', '.join('?' * len(kept))})", kept)
        database.execute("UPDATE audit SET outcome = 'refused' WHERE seq = ?", (last - 1,))
    broken = celeriac(up.environment, "audit", "verify", "--json")
    assert (broken.code, broken.json["broken_at"]) == (1, last - 1)
    database.close()
    wrong = celeriac(up.environment, "audit", "verify", "--head", "x")
    assert (wrong.code, "usage.head" in wrong.err) == (2, True)


def test_old_rows_of_the_audit_are_let_go_of_and_the_rest_is_verified_as_before(up: Installation) -> None:
    celeriac(up.environment, "variables", "set", "a", "1")
    young = celeriac(up.environment, "audit", "purge", "--older-than", "365d", "--json")
    assert (young.code, young.json) == (0, {"rows": 0})
    time.sleep(1)
    gone = celeriac(up.environment, "audit", "purge", "--older-than", "1s", "--json").json["rows"]
    assert gone >= 1
    verified = celeriac(up.environment, "audit", "verify", "--json")
    assert (verified.code, verified.json["sound"], verified.json["purged"]) == (0, True, gone)
    wrong = celeriac(up.environment, "audit", "purge", "--older-than", "soon")
    assert (wrong.code, "usage.duration" in wrong.err) == (2, True)
