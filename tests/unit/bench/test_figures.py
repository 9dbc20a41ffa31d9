from __future__ import annotations

import pytest

from bench.cases import Case
from bench.figures import Sample, figure, memory, outcome, percentile, ratio, skipped

RATE = Case("rate", "many at once", "pure_10", "burst", "executions/s", 100, 50, target=200)
IDLE = Case("idle", "one at a time", "pure_10", "serial", "ms", 100, 50, target=4, target_p99=15)
PYTHON = Case("python", "computes", "fibonacci_33", "serial", "x Python", 1, 1, target=1.02, python=True)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([5, 1, 4, 2, 3], 0.5) == 3
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile(range(1, 101), 1.0) == 100
    assert percentile([7], 0.99) == 7


def test_a_ratio_above_one_is_better_whatever_the_unit() -> None:
    assert ratio(100, 50, higher_is_better=True) == 2
    assert ratio(50, 100, higher_is_better=False) == 2


def test_a_rate_is_executions_by_all_their_seconds() -> None:
    assert figure(RATE, Sample(executions=100, seconds=0.5)) == 200


def test_a_latency_is_the_median_of_those_measured_one_by_one() -> None:
    assert figure(IDLE, Sample(executions=3, seconds=1, latencies=(9, 1, 2))) == 2


def test_computing_is_measured_in_the_time_that_bare_python_takes() -> None:
    ours, python = Sample(executions=2, seconds=2.2), Sample(executions=1, seconds=1.0)
    assert figure(PYTHON, ours, python) == 1.1


def test_computing_without_a_run_of_bare_python_has_no_figure() -> None:
    with pytest.raises(ValueError, match="was not run"):
        figure(PYTHON, Sample(executions=1, seconds=1.0))


def test_an_outcome_is_the_median_of_the_runs_beside_that_of_the_baseline() -> None:
    ours = [Sample(100, seconds, cpu={"worker": 300.4, "submitter": 100}) for seconds in (0.5, 0.4, 2.0)]
    baseline = [Sample(50, seconds, cpu={"worker": 9000}) for seconds in (1.0, 1.25, 5.0)]
    assert outcome(RATE, "sqlite", ours, baseline, pool="solo", load=0.517) == {
        "case": "rate",
        "stack": "sqlite",
        "ours": 200.0,
        "baseline": 40.0,
        "ratio": 5.0,
        "unit": "executions/s",
        "submit": "in-process batch",
        "target": 200,
        "target_met": True,
        "runs": 3,
        "executions": 100,
        "baseline_executions": 50,
        "baseline_pool": "solo",
        "each_run": [200.0, 250.0, 50.0],
        "baseline_each_run": [50.0, 40.0, 10.0],
        "cpu_us_per_execution": {"worker": 300, "submitter": 100, "total": 400},
        "baseline_cpu_us_per_execution": {"worker": 9000, "total": 9000},
        "load": 0.52,
    }


def test_a_99th_percentile_is_told_when_there_are_enough_latencies_for_one() -> None:
    ours = [Sample(60, 1, latencies=tuple(range(60))), Sample(60, 1, latencies=tuple(range(60)))]
    baseline = [Sample(10, 1, latencies=tuple(range(10))), Sample(10, 1, latencies=tuple(range(10)))]
    body = outcome(IDLE, "sqlite", ours, baseline, pool="solo", load=0)
    assert (body["p99_ms"], body["target_p99_ms"]) == (59, 15)
    assert "baseline_p99_ms" not in body


def test_each_run_that_computes_is_held_against_the_bare_python_beside_it() -> None:
    ours = [Sample(1, 1.1), Sample(1, 2.2)]
    baseline = [Sample(1, 1.2), Sample(1, 2.4)]
    python = [Sample(1, 1.0, cpu={"python": 900_000}), Sample(1, 2.0, cpu={"python": 1_100_000})]
    body = outcome(PYTHON, "sqlite", ours, baseline, pool="prefork", load=0, python=python)
    assert (body["each_run"], body["baseline_each_run"]) == ([1.1, 1.1], [1.2, 1.2])
    assert body["seconds"] == {"ours": 1.65, "baseline": 1.8, "python": 1.5}
    assert body["python_cpu_us_per_execution"] == 1_000_000
    assert body["target_met"] is False


def test_a_target_is_met_from_the_side_on_which_better_lies() -> None:
    fast, slow = [Sample(1, 1, latencies=(3.9,))], [Sample(1, 1, latencies=(4.1,))]
    assert outcome(IDLE, "sqlite", fast, slow, pool="solo", load=0)["target_met"] is True
    assert outcome(IDLE, "sqlite", slow, slow, pool="solo", load=0)["target_met"] is False


def test_memory_is_summed_over_the_processes_of_a_run() -> None:
    case = Case("memory", "at rest", "pure_10", "memory", "MB", 1, 1, target=200)
    ours, baseline = [{"1 celeriac up": 60.04, "2 celeriac worker": 40.0}], [{"3 celery": 150.0}]
    body = memory(case, "sqlite", ours, baseline, load=1.0)
    assert (body["ours"], body["baseline"], body["ratio"], body["target_met"]) == (100.0, 150.0, 1.5, True)
    assert body["processes"] == {"1 celeriac up": 60.0, "2 celeriac worker": 40.0}


def test_a_case_that_could_not_be_run_says_why() -> None:
    assert skipped(RATE, "sqlite", "no server") == {"case": "rate", "stack": "sqlite", "skipped": "no server"}
