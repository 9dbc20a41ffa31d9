from __future__ import annotations

from engine.remedies import remedy


def test_a_remedy_is_found_by_code_then_by_area() -> None:
    assert str(remedy("node.timeout")).startswith("Give the node more time")
    assert remedy("expression.whatever") == "Correct the expression, and push the definition again."


def test_what_nobody_can_know_a_remedy_for_has_none() -> None:
    assert remedy("shop.closed") is None
