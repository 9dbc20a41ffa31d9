from __future__ import annotations

import pytest

from celeriac import Fail, NodeError, TryAgain, Uncertain
from engine.errors import Unavailable
from engine.expressions import ExpressionError, Scope, compile_template, derived_entropy
from engine.failure import error_of, knows_outcome
from engine.performance import NodeTimeout


class Special(Fail):
    """A failure of an author's own."""


def expression_error() -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        compile_template("{{ nothing }}").evaluate(Scope({}, derived_entropy(b"k", 0)))
    return caught.value


def test_a_node_that_knows_why_is_recorded_in_its_own_words() -> None:
    assert error_of(Fail("a.b", "No.", {"k": 1})) == NodeError("a.b", "No.", {"k": 1}, ("Fail",))
    assert error_of(Special("a.b", "No.")).kinds == ("Special", "Fail")
    assert error_of(Uncertain("a.b", "Who knows.", {"k": 1})) == NodeError(
        "a.b", "Who knows.", {"k": 1}, ("Uncertain",)
    )


def test_the_time_the_other_side_asked_for_is_kept() -> None:
    assert error_of(TryAgain("a.b", "Later.", 7.5, {"k": 1})) == NodeError(
        "a.b", "Later.", {"k": 1}, ("TryAgain",), 7.5
    )


@pytest.mark.parametrize("kind", [Fail, TryAgain, Uncertain])
def test_details_that_cannot_be_stored_are_kept_as_python_shows_them(kind: type[Fail]) -> None:
    error = error_of(kind("a.b", "No.", details={"k": {1}, "n": 1}))  # type: ignore[dict-item]  # that is the mistake
    assert error.details == {"k": "{1}", "n": 1}


def test_an_expression_keeps_its_code() -> None:
    error = error_of(expression_error())
    assert error.code.startswith("expression.")
    assert "nothing" in error.message


def test_an_error_of_the_engine_keeps_its_code_and_details() -> None:
    error = error_of(Unavailable("Away.", seconds=3))
    assert (error.code, error.message, error.details) == ("service.unavailable", "Away.", {"seconds": 3})
    assert error.kinds == ("Unavailable", "CeleriacError")


def test_a_crash_in_a_child_is_what_the_child_says() -> None:
    class Crashed(Exception):
        """What a pool of children raises."""

        error = NodeError("node.crashed", "ValueError: no", {}, ("ValueError",))

    assert error_of(Crashed()) is Crashed.error
    assert not knows_outcome(Crashed())


def test_anything_else_is_a_crash_with_the_class_and_the_beginning_of_its_words() -> None:
    error = error_of(ConnectionResetError("x" * 5000))
    assert error.code == "node.crashed"
    assert error.message.startswith("ConnectionResetError: xxx")
    assert len(error.message) == 2000
    assert error.kinds == ("ConnectionResetError", "ConnectionError", "OSError")


@pytest.mark.parametrize(
    ("exception", "known"),
    [
        (Fail("a.b", "No."), True),
        (TryAgain("a.b", "Later."), True),
        (Unavailable(), True),
        (NodeTimeout(), False),
        (expression_error(), True),
        (Uncertain("a.b", "Who knows."), False),
        (TimeoutError(), False),
        (ZeroDivisionError(), False),
    ],
)
def test_only_a_node_that_foresaw_its_failure_knows_how_its_effect_ended(
    exception: Exception, known: bool
) -> None:
    assert knows_outcome(exception) is known
