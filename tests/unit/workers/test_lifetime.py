"""Limits after which a worker is replaced."""

import os

import pytest

from iiif_server.workers.lifetime import UNLIMITED, Lifetime, own_memory

BOTH = Lifetime(max_jobs=10, max_memory=1000)


@pytest.mark.parametrize(
    ("lifetime", "jobs", "memory", "reason"),
    [
        (BOTH, 9, 1000, None),
        (BOTH, 10, 0, "jobs"),
        (BOTH, 11, 0, "jobs"),
        (BOTH, 1, 1001, "memory"),
        (BOTH, 10, 1001, "memory"),
        (UNLIMITED, 10**9, 10**12, None),
        (Lifetime(max_jobs=1), 1, 10**12, "jobs"),
        (Lifetime(max_memory=1), 10**9, 2, "memory"),
    ],
)
def test_worker_goes_after_its_jobs_or_with_too_much_memory(
    lifetime: Lifetime, jobs: int, memory: int, reason: str | None
) -> None:
    assert lifetime.reached_limit(jobs, memory) == reason


def test_memory_of_a_process_that_is_not_there_is_unknown() -> None:
    assert own_memory(2**22 + 1) == 0
    assert own_memory(os.getpid()) > 1_000_000
