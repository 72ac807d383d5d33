"""Write back-off: reported failures, and growing pauses."""

from itertools import pairwise

import pytest

from iiif_server.cache.write_backoff import WriteBackoff


class Disk:
    """WriteBackoff with a clock that is moved by hand, and what they told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[str] = []
        self.refusals = WriteBackoff(
            self.told.append, lambda reason: self.told.append(f"over: {reason}"), lambda: self.now
        )


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_nothing_is_told_while_nothing_is_refused(disk: Disk) -> None:
    disk.refusals.worked()
    assert disk.refusals.may_try()
    assert (disk.told, disk.refusals.count, disk.refusals.reason) == ([], 0, None)


def test_a_flood_of_refusals_is_told_once_a_minute_and_counted(disk: Disk) -> None:
    for second in range(120):
        disk.now = 1000.0 + second
        disk.refusals.refused("full", pause=False)
    assert disk.told == ["full", "full"]
    assert disk.refusals.count == 120
    assert disk.refusals.reason == "full"


def test_another_reason_is_told_at_once(disk: Disk) -> None:
    for reason in ("full", "read-only", "full", "read-only"):
        disk.refusals.refused(reason, pause=False)
    assert disk.told == ["full", "read-only"]


def test_the_end_is_told_once_for_each_time_that_trouble_was(disk: Disk) -> None:
    for _ in range(3):
        disk.refusals.refused("full", pause=True)
        disk.refusals.worked()
        disk.refusals.worked()
    assert disk.told == ["full", "over: full"]
    assert disk.refusals.reason is None
    disk.now += 61
    disk.refusals.refused("full", pause=True)
    disk.refusals.worked()
    assert disk.told == ["full", "over: full"] * 2


def test_after_a_refusal_one_may_try_after_each_rest_and_rests_grow(disk: Disk) -> None:
    disk.refusals.refused("full", pause=True)
    tries = []
    for tenth in range(3000):
        disk.now = 1000.0 + tenth / 10
        if disk.refusals.may_try():
            tries.append(disk.now - 1000.0)
            disk.refusals.refused("full", pause=True)
    rests = [round(b - a) for a, b in pairwise(tries)]
    assert tries[0] == 2
    assert rests[:5] == [2, 4, 8, 16, 32]
    assert set(rests[5:]) == {60}


def test_many_refusals_at_once_are_one_rest(disk: Disk) -> None:
    for _ in range(50):
        disk.refusals.refused("full", pause=True)
    disk.now += 2
    assert disk.refusals.may_try()
    assert not disk.refusals.may_try()


def test_what_works_ends_the_rest(disk: Disk) -> None:
    disk.refusals.refused("full", pause=True)
    assert not disk.refusals.may_try()
    disk.refusals.worked()
    assert disk.refusals.may_try()
    disk.refusals.refused("full", pause=True)
    disk.now += 2  # and the next one is as short as the first
    assert disk.refusals.may_try()


def test_what_costs_nothing_needs_no_rest(disk: Disk) -> None:
    disk.refusals.refused("no room", pause=False)
    assert disk.refusals.may_try()


def test_refusals_that_cost_their_caller_a_try_are_counted(disk: Disk) -> None:
    disk.refusals.refused("full", pause=True)
    for _ in range(9):
        disk.refusals.may_try()
    assert disk.refusals.count == 10
