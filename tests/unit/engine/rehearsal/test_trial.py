from engine.rehearsal.clock import START
from engine.rehearsal.mocks import Mocks
from engine.rehearsal.trial import Expectation, Trial, instant


def test_what_is_not_said_is_the_usual() -> None:
    assert Trial.parse({"name": "a"}) == Trial("a", {}, Mocks({}), Expectation("succeeded"), START)


def test_an_expected_error_means_a_failure_unless_a_status_is_said() -> None:
    assert Expectation.parse({"error": {"code": "a.b"}}).status == "failed"
    assert Expectation.parse({"error": {"code": "a.b"}, "status": "waiting"}).status == "waiting"


def test_everything_is_read() -> None:
    body = {
        "output": None,
        "match": "partial",
        "path": ["a"],
        "ordered": True,
        "not_run": ["b"],
        "calls": {"a": 1},
    }
    made = Expectation.parse(body)
    assert (made.has_output, made.partial, made.ordered) == (True, True, True)
    assert (made.path, made.not_run, made.calls) == (["a"], ["b"], {"a": 1})
    trial = Trial.parse({"name": "a", "input": 7, "now": "2031-05-02T19:30:00+02:00"})
    assert (trial.payload, trial.start) == (7, 1_935_509_400_000)


def test_times_are_read_as_rfc_3339_writes_them() -> None:
    assert instant("2030-01-01t00:00:00z") == START
    assert instant("2030-01-01T01:00:00.250+01:00") == START + 250
