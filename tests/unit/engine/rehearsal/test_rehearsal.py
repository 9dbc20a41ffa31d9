from itertools import count

from engine.rehearsal.rehearsal import rehearse
from engine.rehearsal.trial import Trial
from tests.builders import document, node
from tests.unit.engine.rehearsal.conftest import REGISTRY


def test_every_test_has_its_result_and_together_they_have_a_coverage() -> None:
    document_ = document([node("a", "transform", {"expression": "n + 1"})])
    bodies = [
        {"name": "one", "input": {"n": 1}, "expect": {"output": {"a": 2}}},
        {"name": "two", "input": {"n": 2}, "expect": {"output": {"a": 2}}},
    ]
    clock = count()
    report = rehearse(document_, [Trial.parse(each) for each in bodies], REGISTRY, lambda: float(next(clock)))
    assert [each.to_json() for each in report.results] == [
        {"name": "one", "passed": True, "ms": 1000.0},
        {
            "name": "two",
            "passed": False,
            "ms": 1000.0,
            "misses": [
                {"code": "test.output", "message": "output/a is 3, and was expected to be 2."},
            ],
            "seen": {"status": "succeeded", "path": ["a"], "passed_ms": 0, "output": {"a": 3}},
        },
    ]
    assert report.coverage.percent == 100
