"""Admission: jobs that begin, wait, or are refused."""

import pytest

from iiif_server.workers.admission import (
    TILE_BYTES,
    TILE_EFFORT,
    TILE_PIXELS,
    Capacity,
    Demand,
    Lane,
    Verdict,
    admit,
    lane_of,
    may_begin,
    next_jobs,
)

T, B, F = Demand(Lane.TILE), Demand(Lane.BUILD), Demand(Lane.FULL)


def full(bytes_: int) -> Demand:
    return Demand(Lane.FULL, bytes_)


@pytest.mark.parametrize(
    ("pixels", "bytes_", "effort", "lane"),
    [
        (512 * 512, 1_000_000, 1_000_000, Lane.TILE),
        (TILE_PIXELS, TILE_BYTES, TILE_EFFORT, Lane.TILE),
        # large, heavy, or slow: each alone makes it expensive
        (TILE_PIXELS + 1, 0, 0, Lane.FULL),
        (1, TILE_BYTES + 1, 0, Lane.FULL),
        (1, 0, TILE_EFFORT + 1, Lane.FULL),
    ],
)
def test_a_lane_is_chosen_by_what_is_made_and_by_what_it_takes(
    pixels: int, bytes_: int, effort: int, lane: Lane
) -> None:
    assert lane_of(pixels, bytes_, effort) is lane


@pytest.mark.parametrize(
    ("workers", "full_lane", "heavy"), [(1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 2, 3), (9, 4, 8)]
)
def test_the_full_lane_and_builds_leave_workers_to_the_others(
    workers: int, full_lane: int, heavy: int
) -> None:
    capacity = Capacity(workers)
    assert (capacity.full, capacity.heavy) == (full_lane, heavy)


@pytest.mark.parametrize("workers", range(2, 12))
def test_no_crowd_of_expensive_work_takes_the_last_worker(workers: int) -> None:
    running: list[Demand] = []
    for demand in [F, B] * workers:
        if may_begin(demand, running, Capacity(workers)):
            running.append(demand)
    assert len(running) == workers - 1
    assert may_begin(T, running, Capacity(workers))


@pytest.mark.parametrize("workers", range(3, 12))
def test_no_crowd_of_full_size_work_takes_the_place_of_a_build(workers: int) -> None:
    running: list[Demand] = []
    for _ in range(workers):
        if may_begin(F, running, Capacity(workers)):
            running.append(F)
    assert may_begin(B, running, Capacity(workers))


@pytest.mark.parametrize(
    ("demand", "running", "may"),
    [
        (full(60), [], True),
        (full(60), [full(40)], True),
        (full(61), [full(40)], False),
        (Demand(Lane.BUILD, 61), [full(40)], False),
        (full(61), [Demand(Lane.TILE, 40)], False),  # what tiles take counts
        (Demand(Lane.TILE, 61), [full(40)], True),  # but they never wait for it
    ],
)
def test_expensive_work_waits_for_memory(
    demand: Demand, running: list[Demand], *, may: bool
) -> None:
    assert may_begin(demand, running, Capacity(8, bytes=100)) is may


@pytest.mark.parametrize(
    ("demand", "waiting", "verdict"),
    [
        (F, [], Verdict.ADMITTED),
        (F, [F], Verdict.ADMITTED),
        (F, [F, F], Verdict.BUSY),
        (F, [T, T, B, B, F], Verdict.ADMITTED),  # each lane has its own queue
        (B, [F, F, B], Verdict.ADMITTED),
        (B, [B, B], Verdict.BUSY),
        (T, [T] * 1000, Verdict.ADMITTED),
        (full(100), [], Verdict.ADMITTED),
        (full(101), [], Verdict.TOO_LARGE),
        (full(101), [F, F], Verdict.TOO_LARGE),  # to wait would be no use either
        (Demand(Lane.BUILD, 101), [], Verdict.TOO_LARGE),
        (Demand(Lane.TILE, 101), [], Verdict.ADMITTED),
    ],
)
def test_a_job_is_taken_or_refused_when_it_comes(
    demand: Demand, waiting: list[Demand], verdict: Verdict
) -> None:
    assert admit(demand, waiting, Capacity(4, bytes=100, queue=2)) is verdict


@pytest.mark.parametrize(
    ("waiting", "running", "workers", "indices"),
    [
        # tiles first, then builds, then the rest; each in the order in which they came
        ([F, B, T, F, T], [], 4, (2, 4)),
        ([F, B, F, B], [], 4, (1, 3)),
        ([F, F], [], 4, (0, 1)),
        # a lane that is full lets the next one go
        ([F, B], [B, B, B], 4, ()),
        ([F, B], [F], 2, ()),
        ([F, T], [F], 2, (1,)),
        ([B, F], [F, F], 4, (0,)),
        # with one worker tiles overtake what waits
        ([F, F, T], [], 1, (2,)),
        # what is too large for the moment is waited for, and not overtaken by its own kind
        ([full(80), full(10)], [full(30)], 8, ()),
        ([full(10), full(80)], [full(30)], 8, (0,)),
        ([full(80), Demand(Lane.BUILD, 10)], [full(30)], 8, (1,)),
        ([], [], 4, ()),
    ],
)
def test_what_begins_next(
    waiting: list[Demand], running: list[Demand], workers: int, indices: tuple[int, ...]
) -> None:
    assert next_jobs(waiting, running, Capacity(workers, bytes=100)) == indices


def test_lanes_are_named_as_they_are_shown() -> None:
    assert [str(lane) for lane in Lane] == ["tile", "build", "full", "background"]
