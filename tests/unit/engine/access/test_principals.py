from __future__ import annotations

import pytest

from engine.access.principals import NoProject, Principal, ProjectUnnamed, keeper, placed
from engine.settings import DEFAULT_PROJECT


def user(*places: str) -> Principal:
    found = {
        each: placed(each, each.removeprefix("proj_"), frozenset({"viewer"}), frozenset()) for each in places
    }
    return Principal("user_1", "ann", "user", places=found)


def test_the_default_project_is_meant_or_the_only_one() -> None:
    assert user("proj_a").home().project == "proj_a"
    assert user("proj_a", DEFAULT_PROJECT).home().project == DEFAULT_PROJECT
    assert keeper().home().project == DEFAULT_PROJECT
    with pytest.raises(ProjectUnnamed, match="several"):
        user("proj_a", "proj_b").home()
    with pytest.raises(NoProject):
        user().home()


def test_a_project_is_found_by_id_or_name_if_one_is_in_it() -> None:
    ann = user("proj_a", "proj_b")
    found = ann.place("proj_b"), ann.place("b")
    assert [each.project for each in found if each] == ["proj_b", "proj_b"]
    assert ann.place("proj_c") is None


def test_a_permission_is_one_of_a_place() -> None:
    ann = user("proj_a")
    assert ann.may("workflow:read", ann.home())
    assert not ann.may("workflow:write", ann.home())
    assert not ann.may("workflow:read")
    assert not ann.may("installation:users", ann.home())
    assert keeper().may("installation:users")


def test_a_program_has_the_voice_of_whoever_made_its_key() -> None:
    assert Principal("key_1", "ann/ci", "key").person == "ann"
    assert keeper("bob").person == "bob"
