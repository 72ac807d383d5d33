"""What a worker may use up, by what its jobs need."""

import resource
import sys
import time

import pytest

from iiif_server.workers.sandbox import limits
from iiif_server.workers.sandbox.limits import limits_for

GB = 10**9


def test_memory_follows_the_largest_original_that_is_allowed() -> None:
    small = limits_for(read=10**8, made=10**6, threads=1, originals=5, deadline=60)
    large = limits_for(read=10**9, made=10**6, threads=1, originals=5, deadline=60)
    assert 0.8 * GB < small.memory < 2.5 * GB
    # Eight bytes a pixel: what the most expensive job takes.
    assert large.memory - small.memory == 8 * (10**9 - 10**8)
    assert large.file_size == 4 * GB


def test_memory_follows_the_largest_image_that_is_made() -> None:
    """It may be larger than any original."""
    small = limits_for(read=10**6, made=10**8, threads=1, originals=5, deadline=60)
    large = limits_for(read=10**6, made=10**9, threads=1, originals=5, deadline=60)
    assert large.memory - small.memory == 18 * (10**9 - 10**8)
    assert large.file_size == 4 * GB


def test_memory_that_is_set_is_taken() -> None:
    limits = limits_for(read=10**9, made=10**6, threads=4, originals=5, deadline=60, memory=GB)
    assert limits.memory == GB
    assert limits.address_space > GB


def test_address_space_has_room_for_the_originals_that_are_mapped() -> None:
    none = limits_for(read=10**9, made=10**6, threads=1, originals=0, deadline=60)
    five = limits_for(read=10**9, made=10**6, threads=1, originals=5, deadline=60)
    assert five.memory == none.memory
    assert five.address_space - none.address_space == 5 * 4 * GB


def test_processor_time_is_only_up_when_the_deadline_has_passed() -> None:
    """Threads use the time of several processors at once."""
    for threads in (1, 4):
        limits = limits_for(read=1, made=1, threads=threads, originals=1, deadline=60)
        assert limits.cpu_seconds > 60 * threads


@pytest.mark.skipif(sys.platform != "linux", reason="the clock is Linux's own")
@pytest.mark.parametrize(("counted", "until"), [(100.5, 104), (0.2, 4)])
def test_the_limit_follows_the_clock_of_the_kernel_and_not_the_exact_one(
    counted: float, until: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two differ without bound on a busy virtual machine."""
    set_: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(time, "clock_gettime", lambda clock: {-8: counted}[clock])
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: set_.append((kind, limit)))
    limits.allow_cpu(3)
    assert set_ == [(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))]


def test_without_that_clock_the_exact_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_clock(_: int) -> float:
        raise OSError

    set_: list[int] = []
    monkeypatch.setattr(time, "clock_gettime", no_clock)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: set_.append(limit[0]))
    limits.allow_cpu(3)
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert set_[0] - 5 < used.ru_utime + used.ru_stime < set_[0]
