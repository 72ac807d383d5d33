"""CPUs and memory that a process may use, by machine and control groups."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from iiif_server.workers.machine import cpu_limits, memory_limits, this_machine

CGROUP_V1 = Path("/sys/fs/cgroup")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty folder for control groups, beside that of the membership file."""
    (tmp_path / "groups").mkdir()
    return tmp_path


def grown(tree: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A tree of control groups with these files."""
    write(tree / "membership", membership)
    for name, text in files.items():
        write(tree / "groups" / name, text)
    return tree / "groups", tree / "membership"


@pytest.mark.parametrize(
    ("membership", "files", "bounds"),
    [
        ("0::/", {"memory.max": "1000\n"}, {1000}),
        ("0::/a/b", {"a/b/memory.max": "max\n", "a/memory.max": "500\n"}, {500}),
        ("0::/a/b", {"a/b/memory.max": "400\n", "a/memory.max": "500\n"}, {400, 500}),
        (
            "9:memory:/box\n1:name=systemd:/elsewhere",
            {"memory/box/memory.limit_in_bytes": "300\n"},
            {300},
        ),
        # a container that sees its own group as the root
        ("9:memory:/docker/1234", {"memory/memory.limit_in_bytes": "200\n"}, {200}),
        ("0::/a", {"a/memory.high": "600\n", "a/memory.max": "700\n"}, {600, 700}),
        ("0::/../../other", {"memory.max": "800\n"}, {800}),
        ("0::/", {}, set()),
    ],
)
def test_limits_of_control_groups_are_found(
    tree: Path, membership: str, files: dict[str, str], bounds: set[int]
) -> None:
    assert set(memory_limits(*grown(tree, membership, files))) == bounds


@pytest.mark.parametrize(
    ("membership", "files", "limits"),
    [
        ("0::/", {"cpu.max": "200000 100000\n"}, {2.0}),
        ("0::/", {"cpu.max": "max 100000\n"}, set()),
        ("0::/a/b", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, {1.5}),
        ("0::/a/b", {"a/b/cpu.max": "50000 100000\n", "a/cpu.max": "400000 100000\n"}, {0.5, 4.0}),
        ("0::/gone", {"cpu.max": "100000 50000\n"}, {2.0}),
        (
            "4:cpu,cpuacct:/box",
            {"cpu/box/cpu.cfs_quota_us": "30000\n", "cpu/box/cpu.cfs_period_us": "10000\n"},
            {3.0},
        ),
        (
            "4:cpu,cpuacct:/docker/1234",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "40000",
                "cpu,cpuacct/cpu.cfs_period_us": "10000",
            },
            {4.0},
        ),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "10000\n"}, set()),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "1\n", "cpu/cpu.cfs_period_us": "0\n"}, set()),
        ("0::/", {"cpu.max": "nonsense\n"}, set()),
    ],
)
def test_cpu_limits_of_control_groups_are_found(
    tree: Path, membership: str, files: dict[str, str], limits: set[float]
) -> None:
    assert set(cpu_limits(*grown(tree, membership, files))) == limits


def test_the_lowest_limit_counts_and_parts_of_a_cpu_are_rounded_up(tree: Path) -> None:
    files = {"a/cpu.max": "10000 100000", "cpu.max": "max 100000", "a/memory.max": "123456789"}
    found = this_machine(*grown(tree, "0::/a", files))
    assert (found.cpus, found.memory) == (1, 123_456_789)
    assert found.all_cpus == os.cpu_count()
    assert found.all_memory > 123_456_789


def test_limits_above_what_the_machine_has_change_nothing(tree: Path) -> None:
    files = {"cpu.max": "999900000 100000", "memory.max": str(2**62)}
    limited = this_machine(*grown(tree, "0::/", files))
    assert limited == this_machine(tree / "nothing", tree / "nothing")


def test_a_machine_without_control_groups_has_no_limits(tree: Path) -> None:
    assert list(memory_limits(tree / "groups", tree / "membership")) == []
    assert list(cpu_limits(tree / "groups", tree / "membership")) == []
    found = this_machine(tree / "groups", tree / "membership")
    assert found.memory == found.all_memory
    assert 1 <= found.cpus <= found.all_cpus


def test_there_is_memory() -> None:
    assert this_machine().memory > 100_000_000


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_the_affinity_of_the_process_counts(tree: Path) -> None:
    """As `taskset` and Kubernetes's static CPU policy set it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert this_machine(tree / "groups", tree / "membership").cpus == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture
def real_groups() -> Iterator[tuple[Path, Path]]:
    """Two control groups of version 1, for CPU and memory, where we may make them."""
    name = f"iiif-server-test-{os.getpid()}"
    folders = (CGROUP_V1 / "cpu" / name, CGROUP_V1 / "memory" / name)
    made = []
    try:
        for folder in folders:
            folder.mkdir()
            made.append(folder)
    except OSError:
        pass
    try:
        if len(made) < len(folders):
            pytest.skip("no control groups of version 1 that we may make groups in")
        yield folders
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def test_a_process_in_a_real_control_group_knows_its_limits(
    real_groups: tuple[Path, Path],
) -> None:
    cpu, memory = real_groups
    (cpu / "cpu.cfs_period_us").write_text("100000")
    (cpu / "cpu.cfs_quota_us").write_text("100000")
    (memory / "memory.limit_in_bytes").write_text("1073741824")
    program = (
        "import os, sys\n"
        "for group in sys.argv[1:]:\n"
        "    open(group + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "from iiif_server.composition.sizing import memory_for_images\n"
        "from iiif_server.settings import Settings\n"
        "from iiif_server.workers.machine import this_machine\n"
        "print(this_machine().cpus, this_machine().memory)\n"
        "print(Settings().image_pool_size, memory_for_images(Settings()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(cpu), str(memory)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "1073741824", "2", "536870912"]
