from __future__ import annotations

import pytest

from engine.triggers.paths import fault, parameters, parts, shape, shapes


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/webhooks/email", "email"), ("/email", "email"), ("/orders/{order}", "orders/{}"), ("/a/b.c/~d", "a/b.c/~d"),
     ("/webhooks", "webhooks"), ("/webhooks/webhooks/x", "webhooks/x")],
)  # fmt: skip
def test_the_shape_of_a_path(path: str, expected: str) -> None:
    assert fault(path) is None
    assert shape(path) == expected


@pytest.mark.parametrize(
    "path",
    ["/", "/webhooks/", "/a/../b", "/.", "/a b", "/ä", "/{a}", "/{a}/{b}", "/a/{b}/{b}", "/a/{b}/{c}/{d}/{e}", "/a/{1}",
     "/wf_x", "/webhooks/wf_01/x", "/" + "/".join("abcdefghi"), "/a%2fb", "/a/{b}c", "/a?b", "/a\0"],
)  # fmt: skip
def test_what_can_be_no_address(path: str) -> None:
    assert fault(path) is not None


def test_a_request_fits_the_shapes_that_say_most_first() -> None:
    assert [*shapes(["orders", "7"])] == ["orders/7", "orders/{}", "{}/7"]
    found = [*shapes(["a", "b", "c"])]
    assert found[0] == "a/b/c"
    assert found.index("a/b/{}") < found.index("a/{}/c") < found.index("{}/b/c") < found.index("a/{}/{}")


@pytest.mark.parametrize("asked", [[], [""], ["a", ""], list("abcdefghi"), ["a", "b", ""]])
def test_what_is_no_path_fits_nothing_but_a_parameter(asked: list[str]) -> None:
    assert [each for each in shapes(asked) if "" in each.split("/")] == []


def test_a_part_that_no_author_could_write_is_a_parameter_at_most() -> None:
    assert [*shapes(["orders", "a b%"])] == ["orders/{}"]
    assert parameters("/orders/{order}", ["orders", "a b%"]) == {"order": "a b%"}
    assert parts("/webhooks/orders/{order}") == ["orders", "{order}"]
