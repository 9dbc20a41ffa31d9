"""Who may, as rows: the same on both databases."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from celeriac import Json
from celeriac.usage import Model
from engine import budgets, models
from engine.access import (
    audit,
    invitations,
    keys,
    members,
    projects,
    sessions,
    tokens,
    users,
    variables,
)
from engine.access.directory import by_key, by_session
from engine.access.principals import ProjectUnknown
from engine.errors import Conflict, Invalid, NotFound
from engine.feed import BEGINNING
from engine.hooks import rows as hook_rows
from engine.hooks.rows import Hook
from engine.ledger import Noted
from engine.settings import DEFAULT_PROJECT, Settings
from tests.builders import Client, document, node

KEY = b"k" * 32
NOW = 1_900_000_000_000


@pytest.fixture
def client(store: Settings) -> Iterator[Client]:
    made = Client(store, poll=False)
    yield made
    made.close()


def do(client: Client, work: Any) -> Any:
    return client.runtime.ledger.ask(work)


def look(client: Client, query: Any) -> Any:
    return client.runtime.reader.ask(query)


def user(client: Client, name: str, *, owns: bool = False) -> str:
    do(client, users.create(f"user_{name}", name, "hash", NOW, owns=owns))
    return f"user_{name}"


def signed_in(client: Client, who: str, number: int = 1) -> sessions.Opened:
    opened, change = sessions.open_(
        KEY, f"sess_{number:026}", who, "password", bytes([number]) * 32, NOW, "::1", "test"
    )
    do(client, change)
    return opened


def known(client: Client, token: str) -> Any:
    digest = tokens.digest(token)
    return look(client, lambda c: by_session(c, digest) or by_key(c, digest))


def test_a_name_is_given_once(client: Client) -> None:
    user(client, "ann")
    with pytest.raises(users.UserExists):
        user(client, "ann")
    assert look(client, lambda c: users.find(c, "ANN")).id == "user_ann"
    with pytest.raises(users.UserUnknown):
        look(client, lambda c: users.find(c, "bob"))
    user(client, "bob")
    page = look(client, lambda c: users.listing(c, 1))
    assert ([each["name"] for each in page.rows], page.following) == (["ann"], "ann")
    assert "hash" not in json.dumps(page.rows)


def test_the_last_owner_cannot_be_locked_out(client: Client) -> None:
    user(client, "ann", owns=True)
    for more in ({"active": False}, {"owns": False}):
        with pytest.raises(users.LastOwner):
            do(client, users.alter("ann", NOW, **more))
    user(client, "bob", owns=True)
    assert do(client, users.alter("ann", NOW, active=False))["active"] is False
    with pytest.raises(users.LastOwner):
        do(client, users.alter("bob", NOW, active=False))


def test_whoever_is_deactivated_is_nobody_from_then_on(client: Client) -> None:
    ann = user(client, "ann")
    opened = signed_in(client, ann)
    token = tokens.make(tokens.KEY, b"x" * 32)
    do(client, members.put(DEFAULT_PROJECT, ann, NOW, ("editor",), None, by_owner=False))
    do(client, keys.create("key_1", token, DEFAULT_PROJECT, "ci", ["editor"], ann, NOW, None))
    assert known(client, opened.access).principal.name == "ann"
    assert known(client, token).principal.name == "ann/ci"
    do(client, users.alter("ann", NOW, active=False))
    assert known(client, opened.access) is None
    assert known(client, token) is None
    assert do(client, sessions.renew(KEY, opened.refresh, NOW)) == sessions.Lost(
        ann, opened.session, reused=False
    )


def test_a_session_is_renewed_with_a_token_that_works_once(client: Client) -> None:
    first = signed_in(client, user(client, "ann"))
    second = do(client, sessions.renew(KEY, first.refresh, NOW + 60_000))
    assert second.session == first.session
    assert {second.access, second.refresh} & {first.access, first.refresh} == set()
    assert (second.access_until, second.until) == (NOW + 60_000 + sessions.ACCESS_MS, first.until)
    assert known(client, first.access) is None
    assert known(client, second.access).principal.session == first.session
    kept = client.query("SELECT access, refresh, previous FROM session")
    assert not {first.access, first.refresh, second.access, second.refresh} & set(kept[0])


def test_two_that_renew_at_once_get_the_same(client: Client) -> None:
    first = signed_in(client, user(client, "ann"))
    second = do(client, sessions.renew(KEY, first.refresh, NOW))
    again = do(client, sessions.renew(KEY, first.refresh, NOW + sessions.GRACE_MS))
    assert again == second


def test_a_token_that_comes_again_later_ends_the_session_for_everybody(client: Client) -> None:
    first = signed_in(client, user(client, "ann"))
    second = do(client, sessions.renew(KEY, first.refresh, NOW))
    late = do(client, sessions.renew(KEY, first.refresh, NOW + sessions.GRACE_MS + 1))
    assert late == sessions.Lost("user_ann", first.session, reused=True)
    assert known(client, second.access) is None
    after = do(client, sessions.renew(KEY, second.refresh, NOW + sessions.GRACE_MS + 2))
    assert after == sessions.Lost("user_ann", first.session, reused=False)


def test_a_session_ends_however_often_it_is_renewed(client: Client) -> None:
    opened = signed_in(client, user(client, "ann"))
    last = opened.until - 1
    renewed = do(client, sessions.renew(KEY, opened.refresh, last))
    assert (renewed.access_until, renewed.until) == (opened.until, opened.until)
    over = do(client, sessions.renew(KEY, renewed.refresh, opened.until))
    assert over == sessions.Lost("user_ann", opened.session, reused=False)
    assert do(client, sessions.renew(KEY, "clr_nonsense", NOW)) == sessions.Lost(None, None, reused=False)


def test_two_processes_that_renew_at_once_both_get_the_same(client: Client, store: Settings) -> None:
    other = Client(store, poll=False)
    try:
        token = signed_in(client, user(client, "ann")).refresh
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(do, each, sessions.renew(KEY, token, NOW)) for each in (client, other) * 4]
            assert len({each.result() for each in asked}) == 1
    finally:
        other.close()


def test_an_invitation_works_once_and_for_whom_it_is(client: Client) -> None:
    do(client, invitations.issue("cli_first", None, NOW))
    assert look(client, lambda c: invitations.look(c, "cli_first", NOW)) is None
    accept = invitations.accept("cli_first", "hash", NOW, new="user_1", name="ann")
    found = do(client, accept)
    assert (found.name, found.owns) == ("ann", True)
    with pytest.raises(invitations.InvitationUnusable):
        do(client, accept)
    do(client, invitations.issue("cli_a", "user_1", NOW))
    do(client, invitations.issue("cli_b", "user_1", NOW))
    for token, at in (("cli_a", NOW), ("cli_b", NOW + invitations.LASTS_MS), ("cli_c", NOW)):
        with pytest.raises(invitations.InvitationUnusable):
            do(client, invitations.accept(token, "new", at, new="user_2", name=None))
    opened = signed_in(client, "user_1")
    assert do(client, invitations.accept("cli_b", "new", NOW, new="user_2", name=None)).password == "new"
    assert known(client, opened.access) is None


def test_nobody_becomes_the_first_user_once_there_is_one(client: Client) -> None:
    do(client, invitations.issue("cli_first", None, NOW))
    user(client, "ann")
    with pytest.raises(invitations.InvitationUnusable):
        do(client, invitations.accept("cli_first", "hash", NOW, new="user_1", name="eve"))


def test_a_key_never_may_more_than_its_maker(client: Client) -> None:
    ann = user(client, "ann")
    do(client, members.put(DEFAULT_PROJECT, ann, NOW, ("admin",), None, by_owner=False))
    token = tokens.make(tokens.KEY, b"x" * 32)
    scopes = ["connection:manage", "workflow:read"]
    do(client, keys.create("key_1", token, DEFAULT_PROJECT, "ci", scopes, ann, NOW, NOW + 5))

    def may() -> set[str]:
        found = known(client, token)
        assert found.until == NOW + 5
        return set(found.principal.places[DEFAULT_PROJECT].permissions)

    assert may() == set(scopes)
    do(client, members.put(DEFAULT_PROJECT, ann, NOW, ("viewer",), None, by_owner=False))
    assert may() == {"workflow:read"}
    do(client, members.remove(DEFAULT_PROJECT, "ann", by_owner=False))
    assert may() == set()
    do(client, keys.revoke("key_1", DEFAULT_PROJECT, NOW))
    assert known(client, token) is None
    with pytest.raises(keys.KeyUnknown):
        do(client, keys.revoke("key_1", "proj_other", NOW))


def test_a_key_of_the_keeper_may_what_its_scopes_say(client: Client) -> None:
    token = tokens.make(tokens.KEY, b"x" * 32)
    do(client, keys.create("key_1", token, DEFAULT_PROJECT, "ci", ["operator"], None, NOW, None))
    found = known(client, token)
    assert (found.principal.name, found.principal.owns, found.until) == ("api/ci", False, None)
    assert "execution:start" in found.principal.places[DEFAULT_PROJECT].permissions
    do(client, keys.used("key_1", NOW + 1))
    (listed,) = look(client, lambda c: keys.listing(c, DEFAULT_PROJECT))
    assert (listed["used_at"], listed["hint"], token in json.dumps(listed)) == (NOW + 1, token[:10], False)


def test_a_project_has_as_many_keys_as_it_may_and_no_more(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST", 2)
    for number in range(2):
        do(
            client,
            keys.create(f"key_{number}", f"t{number}", DEFAULT_PROJECT, "k", ["viewer"], None, NOW, None),
        )
    with pytest.raises(Conflict):
        do(client, keys.create("key_2", "t2", DEFAULT_PROJECT, "k", ["viewer"], None, NOW, None))
    do(client, keys.revoke("key_0", DEFAULT_PROJECT, NOW))
    do(client, keys.create("key_2", "t2", DEFAULT_PROJECT, "k", ["viewer"], None, NOW, None))


def test_a_project_is_made_changed_and_deleted(client: Client) -> None:
    made = do(client, projects.create("proj_1", "Shop", "", {"budget_limit": 5}, NOW))
    assert made["settings"] == {"default_model": None, "budget_limit": 5}
    (budget,) = look(client, lambda c: budgets.listing(c, NOW, "proj_1"))
    assert (budget["scope"], budget["usd"], budget["period"]) == ("project", 5, "month")
    do(client, budgets.put("project", {"usd": 5, "tokens": 9, "period": "day"}, NOW, "proj_1"))
    assert (
        do(client, projects.alter("proj_1", NOW, given={"budget_limit": 6}))["settings"]["budget_limit"] == 6
    )
    with pytest.raises(projects.ProjectExists):
        do(client, projects.create("proj_2", "Shop", "", {}, NOW))
    given: dict[str, Json] = {"default_model": "gpt-4", "budget_limit": None}
    changed = do(client, projects.alter("proj_1", NOW + 1, name="Store", given=given))
    assert (changed["name"], changed["updated_at"]) == ("Store", NOW + 1)
    assert changed["settings"] == {"default_model": "gpt-4", "budget_limit": None}
    (budget,) = look(client, lambda c: budgets.listing(c, NOW, "proj_1"))
    assert (budget["usd"], budget["tokens"], budget["period"]) == (None, 9, "day")
    assert look(client, lambda c: models.find(c, "default", "proj_1")) == Model("gpt-4", None, "gpt-4")
    do(client, models.save("gpt-4", {"provider": "openai", "model": "gpt-4o"}, NOW, "proj_1")[1])
    assert look(client, lambda c: models.find(c, "default", "proj_1")) == Model("gpt-4", "openai", "gpt-4o")
    assert look(client, lambda c: models.find(c, "default", DEFAULT_PROJECT)) is None
    pushed = do(
        client,
        _push(client, document([node("a")]), "proj_1"),
    )
    ann = user(client, "ann")
    do(client, members.put("proj_1", ann, NOW, ("owner",), None, by_owner=True))
    do(client, keys.create("key_1", "t", "proj_1", "k", ["viewer"], None, NOW, None))
    figures = look(client, lambda c: projects.stats(c, "proj_1"))
    assert (figures["workflows"], figures["members"], figures["executions"]) == (1, 1, {})
    do(client, projects.delete("proj_1", NOW + 2))
    with pytest.raises(ProjectUnknown):
        look(client, lambda c: projects.find(c, "Store"))
    assert client.query("SELECT enabled FROM workflow WHERE id = '" + pushed.workflow + "'") == [(0,)]
    assert look(client, lambda c: users.places(c, ann)) == {}
    assert look(client, lambda c: by_key(c, tokens.digest("t"))) is None
    do(client, projects.create("proj_2", "Store", "", {}, NOW))
    with pytest.raises(projects.ProjectKept):
        do(client, projects.delete(DEFAULT_PROJECT, NOW))


def _push(client: Client, body: dict[str, Any], project: str) -> Any:
    from engine import catalog

    return catalog.push(body, client.runtime.registry, client.runtime.clock, project)


def test_projects_are_listed_as_far_as_they_are_seen(client: Client) -> None:
    for number, name in enumerate("abc"):
        do(client, projects.create(f"proj_{number}", name, "", {}, NOW))
    page = look(client, lambda c: projects.listing(c, 2, among=["proj_2", "proj_0"]))
    assert ([each["name"] for each in page.rows], page.following) == (["a", "c"], None)
    page = look(client, lambda c: projects.listing(c, 2))
    assert ([each["name"] for each in page.rows], page.following) == (["a", "b"], "b")
    assert look(client, lambda c: projects.listing(c, 2, among=[])).rows == []


def test_figures_of_a_project_count_its_latest_executions(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = client.push(document([node("a")]))
    for _ in range(3):
        client.start(active)
    monkeypatch.setattr(projects, "LATEST", 2)
    figures = look(client, lambda c: projects.stats(c, DEFAULT_PROJECT))
    assert (figures["executions"], figures["executions_counted"]) == ({"created": 2}, 2)


def test_only_an_owner_gives_and_takes_the_highest_role_and_one_is_left(client: Client) -> None:
    ann, bob = user(client, "ann"), user(client, "bob")
    with pytest.raises(members.OwnersOnly):
        do(client, members.put(DEFAULT_PROJECT, ann, NOW, ("owner",), None, by_owner=False))
    do(client, members.put(DEFAULT_PROJECT, ann, NOW, ("owner",), ("finance",), by_owner=True))
    with pytest.raises(members.OwnersOnly):
        do(client, members.remove(DEFAULT_PROJECT, ann, by_owner=False))
    with pytest.raises(members.LastOwner):
        do(client, members.put(DEFAULT_PROJECT, ann, NOW, ("viewer",), None, by_owner=True))
    do(client, members.put(DEFAULT_PROJECT, bob, NOW, ("owner",), None, by_owner=True))
    found = do(client, members.put(DEFAULT_PROJECT, ann, NOW, ("viewer",), None, by_owner=True))
    assert (found["roles"], found["groups"]) == (["viewer"], ["finance"])
    assert [each["user"]["name"] for each in look(client, lambda c: members.listing(c, DEFAULT_PROJECT))] == [
        "ann",
        "bob",
    ]
    do(client, members.remove(DEFAULT_PROJECT, "ann", by_owner=False))
    with pytest.raises(members.MemberUnknown):
        do(client, members.remove(DEFAULT_PROJECT, "ann", by_owner=False))
    with pytest.raises(users.UserUnknown):
        do(client, members.put(DEFAULT_PROJECT, "eve", NOW, ("viewer",), None, by_owner=False))


HOOK = Hook(
    id="sub_1",
    project=DEFAULT_PROJECT,
    url="https://example.com/hooks",
    types=("execution.*",),
    workflow=None,
    description="",
    enabled=True,
    reason=None,
    secret=b"sealed",
    old_secret=None,
    old_until=None,
    place=BEGINNING,
    failing_since=None,
    created_at=NOW,
    updated_at=NOW,
)


def noted(client: Client, number: int, **more: Any) -> None:
    entry = audit.Entry("user_1", "ann", "thing:do", f"thing_{number}", **more)
    do(client, audit.writing(KEY, entry, NOW + number))


def test_the_audit_is_a_chain_in_which_every_change_shows(client: Client) -> None:
    for number in range(5):
        noted(client, number, project="proj_1" if number % 2 else "", details={"ä": [number, None]})
    good = look(client, lambda c: audit.verify(c, KEY))
    assert (good.count, good.broken) == (5, None)
    assert look(client, lambda c: audit.verify(c, b"other" * 7)).broken == 1
    page = look(client, lambda c: audit.listing(c, 1, project="proj_1"))
    assert (page.rows[0]["seq"], page.rows[0]["details"], page.following) == (4, {"ä": [3, None]}, (4, ""))
    older = look(client, lambda c: audit.listing(c, 9, project=None, actor="ann", before=4))
    assert [each["seq"] for each in older.rows] == [3, 2, 1]
    assert look(client, lambda c: audit.listing(c, 9, project=None, action="no")).rows == []
    assert page.rows[0]["hash"] != good.head == older_head(client)


def older_head(client: Client) -> str:
    return str(client.query("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1")[0][0])


@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        ("UPDATE audit SET outcome = 'refused' WHERE seq = 3", 3),
        ("UPDATE audit SET at = at + 1 WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("UPDATE audit SET hash = 'x' WHERE seq = 5", 5),
        ("DELETE FROM audit WHERE seq = 1", 1),
    ],
)
def test_the_place_of_the_first_damage_is_told(client: Client, damage: str, broken: int) -> None:
    for number in range(5):
        noted(client, number)
    do(client, lambda connection: connection.run(damage))
    assert look(client, lambda c: audit.verify(c, KEY)).broken == broken


def purge(client: Client, cutoff: int) -> int:
    entry = audit.Entry("", "root", audit.PURGE, "audit")
    return int(do(client, audit.purge(KEY, entry, cutoff, NOW + 100)))


def test_what_is_left_of_a_purged_chain_is_verified_as_before(client: Client) -> None:
    assert purge(client, NOW) == 0
    for number in range(5):
        noted(client, number)
    heads = dict(client.query("SELECT seq, hash FROM audit"))
    assert purge(client, NOW) == 0
    assert purge(client, NOW + 2) == 2
    found = look(client, lambda c: audit.verify(c, KEY))
    assert (found.count, found.broken, found.purged) == (6, None, 2)
    known = {seq: look(client, lambda c, seq=seq: audit.has(c, seq, heads[seq])) for seq in heads}
    assert known == {1: None, 2: True, 3: True, 4: True, 5: True}
    assert look(client, lambda c: audit.has(c, 2, heads[1])) is False
    # whoever is last stays, whatever the time; a second purge goes on from the first
    assert purge(client, NOW + 1000) == 3
    found = look(client, lambda c: audit.verify(c, KEY))
    assert (found.count, found.broken, found.purged) == (7, None, 5)
    noted(client, 9)
    assert look(client, lambda c: audit.verify(c, KEY)).count == 8
    (told,) = look(client, lambda c: audit.listing(c, 1, project=None, action=audit.PURGE)).rows
    assert (told["name"], told["details"]) == ("root", {"through": 5, "hash": heads[5]})


def test_a_purge_goes_on_in_parts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PURGED_AT_ONCE", 2)
    for number in range(5):
        noted(client, number)
    assert [purge(client, NOW + 5) for _ in range(4)] == [2, 2, 1, 0]
    assert look(client, lambda c: audit.verify(c, KEY)).broken is None


@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        ("DELETE FROM audit WHERE seq = 3", 3),
        ('UPDATE audit SET details = \'{"through":3,"hash":"x"}\' WHERE action = \'audit:purge\'', 4),
        ("DELETE FROM audit WHERE action = 'audit:purge'", 1),
        ("UPDATE audit SET seq = 2 WHERE seq = 3", 3),
    ],
)
def test_nobody_without_the_key_lets_go_of_any(client: Client, damage: str, broken: int) -> None:
    for number in range(5):
        noted(client, number)
    assert purge(client, NOW + 2) == 2
    do(client, lambda connection: connection.run(damage))
    assert look(client, lambda c: audit.verify(c, KEY)).broken == broken


def test_nobody_is_told_of_a_project_that_was_deleted(client: Client) -> None:
    do(client, projects.create("proj_1", "Shop", "", {}, NOW))
    made = dataclasses.replace(HOOK, project="proj_1")
    do(client, hook_rows.add(made, 10))
    do(client, projects.delete("proj_1", NOW + 1))
    (found,) = look(client, lambda c: hook_rows.hooks(c, "proj_1"))
    assert (found.enabled, found.reason) == (False, "The project was deleted.")


def test_several_processes_write_one_chain(client: Client, store: Settings) -> None:
    other = Client(store, poll=False)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: noted((client, other)[number % 2], number), range(60)))
    finally:
        other.close()
    verdict = look(client, lambda c: audit.verify(c, KEY))
    assert (verdict.count, verdict.broken) == (60, None)


def test_a_long_chain_is_read_in_parts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_AT_ONCE", 2)
    for number in range(4):
        noted(client, number)
    assert look(client, lambda c: audit.verify(c, KEY)).count == 4


def test_what_is_noted_stands_or_falls_with_the_work(client: Client) -> None:
    def note(connection: Any, answer: object) -> None:
        audit.write(connection, KEY, audit.Entry("a", "a", "x:y", str(answer)), NOW)

    assert do(client, Noted(variables.put(DEFAULT_PROJECT, "x", 1, NOW), note)) is True
    with pytest.raises(NotFound):
        do(client, Noted(variables.remove(DEFAULT_PROJECT, "y"), note))

    def broken(connection: Any, answer: object) -> None:
        note(connection, answer)
        raise Invalid("no")

    with pytest.raises(Invalid):
        do(client, Noted(variables.put(DEFAULT_PROJECT, "z", 1, NOW), broken))
    assert client.query("SELECT subject FROM audit") == [("True",)]
    assert client.query("SELECT name FROM variable") == [("x",)]


def test_variables_are_set_listed_and_removed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variables, "MOST", 2)
    assert do(client, variables.put(DEFAULT_PROJECT, "a", {"x": [1]}, NOW)) is True
    assert do(client, variables.put(DEFAULT_PROJECT, "a", None, NOW + 1)) is False
    do(client, variables.put(DEFAULT_PROJECT, "b", 2, NOW))
    with pytest.raises(Conflict):
        do(client, variables.put(DEFAULT_PROJECT, "c", 3, NOW))
    do(client, variables.put("proj_other", "c", 3, NOW))
    found = look(client, lambda c: variables.listing(c, DEFAULT_PROJECT))
    assert [(each["name"], each["value"]) for each in found] == [("a", None), ("b", 2)]
    do(client, variables.remove(DEFAULT_PROJECT, "a"))
    with pytest.raises(variables.VariableUnknown):
        do(client, variables.remove(DEFAULT_PROJECT, "a"))
    monkeypatch.setattr(variables, "TOGETHER", 10)
    do(client, variables.put(DEFAULT_PROJECT, "b", "1234567", NOW))
    with pytest.raises(Conflict):
        do(client, variables.put(DEFAULT_PROJECT, "a", 12, NOW))
    do(client, variables.put(DEFAULT_PROJECT, "a", 1, NOW))
    variables.put(DEFAULT_PROJECT, "a", "x" * (variables.LARGEST - 2), NOW)
    with pytest.raises(Invalid):
        variables.put(DEFAULT_PROJECT, "a", "x" * (variables.LARGEST - 1), NOW)


def test_an_execution_begins_with_the_variables_of_its_project(client: Client) -> None:
    made = document([node("a", "transform", {"expression": "vars.limit"})])
    made["definition"]["project_variables"] = {"limit": 1, "other": None}
    do(client, variables.put(DEFAULT_PROJECT, "limit", {"ü": [2]}, NOW))
    client.start(client.push(made))
    assert client.query("SELECT variables FROM execution") == [('{"limit":{"ü":[2]}}',)]
