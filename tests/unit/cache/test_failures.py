import pytest

from iiif_server.cache.failures import RecentFailures, Repetitions
from iiif_server.errors import SourceUnavailableError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_failure_is_raised_again_until_its_time_is_over() -> None:
    clock = Clock()
    failures: RecentFailures[str] = RecentFailures(10, clock)
    failures.raise_recent("a")
    failures.remember("a", SourceUnavailableError("no"))
    clock.now = 109.9
    with pytest.raises(SourceUnavailableError, match="no"):
        failures.raise_recent("a")
    failures.raise_recent("b")
    clock.now = 110.0
    failures.raise_recent("a")


def test_no_more_than_a_thousand_are_remembered() -> None:
    failures: RecentFailures[int] = RecentFailures(10, Clock())
    for key in range(1025):
        failures.remember(key, SourceUnavailableError("no"))
    failures.raise_recent(0)
    with pytest.raises(SourceUnavailableError):
        failures.raise_recent(1)


def test_a_failure_may_be_kept_for_another_time_than_others() -> None:
    clock = [0.0]
    failures: RecentFailures[str] = RecentFailures(100, lambda: clock[0])
    failures.remember("a", SourceUnavailableError("no"), seconds=5)
    clock[0] = 4.9
    with pytest.raises(SourceUnavailableError):
        failures.raise_recent("a")
    clock[0] = 5.0
    failures.raise_recent("a")


def test_repetitions_are_those_of_the_last_seconds_by_key() -> None:
    clock = [0.0]
    repetitions: Repetitions[str] = Repetitions(10, lambda: clock[0])
    for second in (0, 4, 8):
        clock[0] = second
        repetitions.add("a")
    assert (repetitions.count("a"), repetitions.count("b")) == (3, 0)
    clock[0] = 11
    assert repetitions.count("a") == 2
    clock[0] = 18
    assert repetitions.count("a") == 0


def test_repetitions_are_forgotten_beyond_a_thousand() -> None:
    repetitions: Repetitions[int] = Repetitions(10, lambda: 0.0)
    for number in range(3000):
        repetitions.add(number)
    assert sum(repetitions.count(number) for number in range(3000)) == 1024
    assert repetitions.count(2999) == 1
