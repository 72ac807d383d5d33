from iiif_server.commands.replay.pacing import FixedRate, OriginalTiming

CENTURIES = 10**10


def test_requests_are_due_as_long_after_the_first_as_they_were() -> None:
    pace = OriginalTiming()
    assert [pace.due(time) for time in (1000, 1000, 1001.5, 1010)] == [0, 0, 1.5, 10]


def test_lines_out_of_order_are_due_at_once_and_make_nothing_longer() -> None:
    pace = OriginalTiming()
    assert [pace.due(time) for time in (100, 102, 101, 102, 101, 103)] == [0, 2, 2, 2, 2, 3]


def test_pauses_are_shortened_to_a_minute() -> None:
    pace = OriginalTiming()
    assert [pace.due(time) for time in (0, 3600, 3601)] == [0, 60, 61]


def test_a_clock_that_leaps_and_comes_back_goes_on() -> None:
    pace = OriginalTiming()
    assert [pace.due(time) for time in (0, CENTURIES, 1, 2, -CENTURIES, 1 - CENTURIES)] == [
        0,
        60,
        60,
        61,
        61,
        62,
    ]


def test_a_rate_takes_no_notice_of_the_log() -> None:
    pace = FixedRate(4)
    assert [pace.due(time) for time in (5, CENTURIES, 1)] == [0, 0.25, 0.5]


def test_an_infinite_rate_waits_for_nothing() -> None:
    pace = FixedRate(float("inf"))
    assert [pace.due(0) for _ in range(3)] == [0, 0, 0]
