"""Limits that the kernel holds a process to."""

import resource
import signal
import subprocess
import sys
import time

import pytest

from iiif_server import process_limits

_SPEND = """
import resource
from iiif_server.process_limits import allow_cpu, tightened
before = [resource.getrlimit(kind) for kind in (resource.RLIMIT_CPU, resource.RLIMIT_DATA)]
{before}
with tightened(1, 200 << 20):
    {within}
{after}
"""


def ran(within: str, before: str = "", after: str = "") -> subprocess.CompletedProcess[str]:
    code = _SPEND.format(within=within, before=before, after=after)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def not_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_limits, "_expendable", [])


@pytest.mark.skipif(sys.platform != "linux", reason="others have no limit of memory")
def test_a_worker_gets_no_more_memory_than_that() -> None:
    made = ran("bytearray(300 << 20)", "allow_cpu(60)")
    assert "MemoryError" in made.stderr


def test_a_worker_that_takes_longer_than_that_is_ended() -> None:
    assert ran("while True: pass", "allow_cpu(60)").returncode == -signal.SIGXCPU


def test_another_process_is_left_alone() -> None:
    now = "[resource.getrlimit(kind) for kind in (resource.RLIMIT_CPU, resource.RLIMIT_DATA)]"
    made = ran(f"assert {now} == before; len(bytearray(300 << 20))")
    assert made.returncode == 0, made.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="others have no limit of memory")
def test_a_worker_has_its_own_limits_again_behind_it() -> None:
    made = ran(
        "pass",
        "allow_cpu(60); own = resource.getrlimit(resource.RLIMIT_CPU)",
        "len(bytearray(300 << 20)); assert resource.getrlimit(resource.RLIMIT_CPU) == own",
    )
    assert made.returncode == 0, made.stderr


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
    process_limits.allow_cpu(3)
    assert set_ == [(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))]


def test_without_that_clock_the_exact_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_clock(_: int) -> float:
        raise OSError

    set_: list[int] = []
    monkeypatch.setattr(time, "clock_gettime", no_clock)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: set_.append(limit[0]))
    process_limits.allow_cpu(3)
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert set_[0] - 5 < used.ru_utime + used.ru_stime < set_[0]
