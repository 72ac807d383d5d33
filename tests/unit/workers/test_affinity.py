"""Affinity: which waiting job goes to which idle worker."""

import pytest

from iiif_server.workers.affinity import LOOK_AHEAD, MAX_OVERTAKEN, OpenOriginals, Waiting, choose


def holding(*subjects: str, capacity: int = 8) -> OpenOriginals:
    memory = OpenOriginals(capacity)
    for subject in subjects:
        memory.put(subject, None)
    return memory


@pytest.mark.parametrize(
    ("waiting", "idle", "chosen"),
    [
        # nobody has anything open: the oldest, to the one that holds least
        (["a"], [()], (0, 0)),
        (["a", "b"], [(), ()], (0, 0)),
        (["a"], [("x", "y"), ("x",), ("x", "z")], (0, 1)),
        # the worker that has the oldest job's original open
        (["a"], [(), ("a",)], (0, 1)),
        (["a"], [("x",), ("y", "a"), ()], (0, 1)),
        # a later job whose original is open passes an older one whose is not
        (["a", "b"], [("b",)], (1, 0)),
        (["a", "b", "c"], [("c",), ("b",)], (1, 1)),
        # the older of two that both suit
        (["a", "b"], [("b",), ("a",)], (0, 1)),
        # what is about nothing in particular suits nobody better
        ([None], [("a",), ()], (0, 1)),
        ([None, "a"], [("a",)], (1, 0)),
        ([None, "b"], [("a",)], (0, 0)),
    ],
)
def test_a_job_goes_where_its_original_is_open(
    waiting: list[str | None], idle: list[tuple[str, ...]], chosen: tuple[int, int]
) -> None:
    jobs = [Waiting(subject) for subject in waiting]
    assert choose(jobs, [holding(*subjects) for subjects in idle]) == chosen


def test_only_the_first_jobs_are_looked_at() -> None:
    jobs = [Waiting(f"other{n}") for n in range(LOOK_AHEAD - 1)]
    assert choose([*jobs, Waiting("a")], [holding("a")]) == (LOOK_AHEAD - 1, 0)
    assert choose([*jobs, Waiting("b"), Waiting("a")], [holding("a")]) == (0, 0)


@pytest.mark.parametrize(
    ("overtaken", "chosen"),
    [(0, (1, 0)), (MAX_OVERTAKEN - 1, (1, 0)), (MAX_OVERTAKEN, (0, 1))],
)
def test_a_job_is_overtaken_only_so_often(overtaken: int, chosen: tuple[int, int]) -> None:
    jobs = [Waiting("a", overtaken), Waiting("b")]
    assert choose(jobs, [holding("b", "c"), holding("d")]) == chosen


def test_a_job_overtaken_often_enough_still_goes_where_its_original_is_open() -> None:
    jobs = [Waiting("a", MAX_OVERTAKEN), Waiting("b")]
    assert choose(jobs, [holding("b"), holding(), holding("a", "x", "y")]) == (0, 2)
