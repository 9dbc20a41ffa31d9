from engine.rehearsal.clock import START, HandClock


def test_a_clock_stands_still_until_it_is_moved_and_then_goes_on_by_whole_milliseconds() -> None:
    clock = HandClock()
    assert (clock.now(), clock.monotonic(), clock.passed) == (START, 0.0, 0)
    clock.move(5)
    clock.move(0.0001)
    clock.sync(7)
    assert (clock.now(), clock.monotonic(), clock.passed) == (START + 5001, 5.001, 5001)


def test_two_clocks_draw_alike_and_one_never_twice_the_same() -> None:
    first, second = HandClock(7), HandClock(7)
    assert first.entropy(8) == second.entropy(8)
    assert first.entropy(8) != first.entropy(8)
    assert first.mint("exec") != second.mint("exec")
    assert first.mint("exec").startswith("exec_")
