import pytest

from iiif_server.cache.failures import RecentFailures
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
