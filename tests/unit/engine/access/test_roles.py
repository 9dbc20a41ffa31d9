from __future__ import annotations

from itertools import pairwise

import pytest

from engine.access.roles import PERMISSIONS, ROLES, expanded, permitted


def test_each_role_of_the_ladder_may_more_than_the_one_below() -> None:
    ladder = [ROLES[each] for each in ("viewer", "operator", "editor", "admin", "owner")]
    assert all(lower < higher for lower, higher in pairwise(ladder))


def test_whoever_runs_a_workflow_is_not_by_that_whoever_decides_on_it() -> None:
    deciding = [name for name, may in ROLES.items() if "approval:decide" in may]
    assert deciding == ["approver"]
    assert "execution:start" not in ROLES["approver"]


def test_no_role_of_a_project_may_anything_to_the_installation() -> None:
    assert not any(each.startswith("installation:") for may in ROLES.values() for each in may)


def test_each_permission_is_somebodys() -> None:
    somebodys = permitted(ROLES) | {each for each in PERMISSIONS if each.startswith("installation:")}
    assert somebodys == set(PERMISSIONS)


@pytest.mark.parametrize("names", [[], ["king"], ["Owner"], ["workflow:read"], [""]])
def test_what_is_no_role_permits_nothing(names: list[str]) -> None:
    assert permitted(names) == frozenset()


def test_scopes_are_permissions_or_roles() -> None:
    assert expanded(["approver", "workflow:read", "nonsense"]) == ROLES["approver"] | {"workflow:read"}
