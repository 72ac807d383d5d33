"""Escapes from the sandbox: each is blocked by the mechanism that the status names.

Each escape is tried with all mechanisms, with each one alone, and with none: there it succeeds, or
it would prove nothing.
"""

import os
import platform
import resource
import select
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from iiif_server.codecs.jobs import prepare_process, render
from iiif_server.errors import (
    OriginalTooComplexError,
    RenderTimedOutError,
    TooMuchMemoryError,
    WorkerDiedError,
    WorkerFailedError,
)
from iiif_server.iiif.formats import Format
from iiif_server.workers.pool import Setup, WorkerPool
from iiif_server.workers.sandbox.confinement import (
    Confinement,
    Mechanism,
    Restriction,
    SandboxStatus,
    available,
)
from iiif_server.workers.sandbox.limits import Limits, limits_for
from support import escapes, jobs, pictures
from support.rendering import derive, plan_request

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = 60.0
TESTS = Path(escapes.__file__).parent.parent
MB = 1 << 20
SMALL = Limits(memory=200 * MB, address_space=1000 * MB, cpu_seconds=1, file_size=MB, open_files=64)
ALL = frozenset(Mechanism)
COMBINATIONS = {
    "all": ALL,
    "limits": frozenset({Mechanism.LIMITS}),
    "landlock": frozenset({Mechanism.LANDLOCK}),
    "seccomp": frozenset({Mechanism.SECCOMP}),
    "none": frozenset[Mechanism](),
}
ROOT = os.geteuid() == 0

if sys.platform != "linux":
    pytest.skip("there are no mechanisms on this system", allow_module_level=True)


@dataclass(frozen=True)
class Ground:
    """Where one worker lives."""

    mechanisms: frozenset[Mechanism]
    pool: WorkerPool
    source: Path
    """It may read what is here."""
    incoming: Path
    """It may write the files that are here."""
    outside: Path
    numbers: Iterator[int] = field(default_factory=count)

    @property
    def sandbox_status(self) -> SandboxStatus:
        return self.pool.sandbox_status


@dataclass(frozen=True)
class Scene:
    """What is there to be got at; of no use to other tests afterwards."""

    source: Path
    """A folder that was made after the sandbox, with an `original` and a `link` to the secret."""
    reserved: Path
    """A file that the worker is to write."""
    outside: Path
    """A folder with a `secret`."""
    tcp: socket.socket
    udp: socket.socket
    unix: socket.socket
    abstract: socket.socket
    victim: "subprocess.Popen[str]"
    address: int
    """Where the victim keeps the message."""

    @property
    def heard(self) -> bool:
        """Whether any of the sockets was called."""
        listening = [self.tcp, self.udp, self.unix, self.abstract]
        return bool(select.select(listening, [], [], 0)[0])

    @property
    def killed(self) -> bool:
        """Whether the victim has ended before it was told to."""
        self.victim.communicate(timeout=LONG)
        return self.victim.returncode < 0


VICTIM = """
import ctypes, sys
message = ctypes.create_string_buffer(b"out")
print(ctypes.addressof(message), flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def confined(
    root: Path, mechanisms: frozenset[Mechanism] = ALL, limits: Limits = SMALL, **setup: Any
) -> AsyncIterator[Ground]:
    """A pool of one worker behind mechanisms."""
    folders = [root / name for name in ("source", "incoming", "outside")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    source, incoming, outside = folders
    confinement = Confinement((source, TESTS), (incoming,), limits, mechanisms=mechanisms)
    pool = WorkerPool(
        "test",
        1,
        Setup(**{"function": jobs.nothing, "confinement": confinement, **setup}),
        lambda _: None,
    )
    await pool.open()
    try:
        yield Ground(mechanisms, pool, source, incoming, outside)
    finally:
        await pool.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=COMBINATIONS)
async def ground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ground]:
    mechanisms = COMBINATIONS[request.param]
    if missing := mechanisms & {*available().unavailable}:
        pytest.skip(f"this system has no {', '.join(missing)}: what they hold back is not tested")
    async with confined(tmp_path_factory.mktemp("ground"), mechanisms) as ground:
        yield ground


@contextmanager
def staged(ground: Ground) -> Iterator[Scene]:
    """A scene on the ground of a worker, new for each escape."""
    number = next(ground.numbers)
    source, outside = ground.source / str(number), ground.outside / str(number)
    source.mkdir()
    outside.mkdir()
    (source / "original").write_bytes(b"original")
    (outside / "secret").write_bytes(b"secret")
    (source / "link").symlink_to(outside / "secret")
    reserved = ground.incoming / f"reserved-{number}"
    reserved.touch()
    with ExitStack() as stack:
        tcp, udp = (
            stack.enter_context(socket.socket()),
            stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)),
        )
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        for listener in (tcp, udp):
            listener.bind(("127.0.0.1", 0))
        unix.bind(str(outside / "unix"))
        abstract.bind(f"\0iiif-server-test-{os.getpid()}-{number}")
        for listener in (tcp, unix, abstract):
            listener.listen()
        victim = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", VICTIM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(victim.kill)
        assert victim.stdout is not None
        address = int(victim.stdout.readline())
        yield Scene(source, reserved, outside, tcp, udp, unix, abstract, victim, address)


def by(*mechanisms: Mechanism) -> Callable[[SandboxStatus], bool]:
    """Any of these holds it back."""
    return lambda found: bool({*mechanisms} - {*found.unavailable})


def by_version(version: int) -> Callable[[SandboxStatus], bool]:
    """Seccomp, or Landlock from a version on, holds it back."""
    return lambda found: bool(found.seccomp) or found.landlock >= version


LANDLOCK = by(Mechanism.LANDLOCK)
SECCOMP = by(Mechanism.SECCOMP)
EITHER = by(Mechanism.LANDLOCK, Mechanism.SECCOMP)
LIMITS = by(Mechanism.LIMITS)


@dataclass(frozen=True)
class Escape:
    """One way out."""

    restriction: Restriction
    job: Callable[[Any], Any]
    argument: Callable[[Scene], Any]
    held: Callable[[SandboxStatus], bool]
    """Whether these mechanisms hold it back."""
    doubtful: bool = False
    """Whether the system itself may hold back all but root, and root without its privileges."""


ESCAPES = {
    "a TCP connection": Escape(
        Restriction.NETWORK, escapes.connect_tcp, lambda s: s.tcp.getsockname()[1], by_version(4)
    ),
    "a TCP listener": Escape(
        Restriction.NETWORK, escapes.listen_tcp, lambda _: None, by_version(4)
    ),
    "a UDP packet": Escape(
        Restriction.NETWORK, escapes.send_udp, lambda s: s.udp.getsockname()[1], SECCOMP
    ),
    "a UNIX socket": Escape(
        Restriction.NETWORK, escapes.connect_unix, lambda s: s.unix.getsockname(), SECCOMP
    ),
    "an abstract UNIX socket": Escape(
        Restriction.NETWORK,
        escapes.connect_unix,
        lambda s: s.abstract.getsockname().decode(),
        by_version(6),
    ),
    "a netlink socket": Escape(
        Restriction.NETWORK, escapes.open_socket, lambda _: socket.AF_NETLINK, SECCOMP
    ),
    "the users": Escape(
        Restriction.FILES, escapes.read_file, lambda _: Path("/etc/passwd"), LANDLOCK
    ),
    "a secret": Escape(
        Restriction.FILES, escapes.read_file, lambda s: s.outside / "secret", LANDLOCK
    ),
    "a secret behind a link": Escape(
        Restriction.FILES, escapes.read_file, lambda s: s.source / "link", LANDLOCK
    ),
    "a secret by another name": Escape(
        Restriction.FILES,
        escapes.link,
        lambda s: (s.outside / "secret", s.source / "hard"),
        EITHER,
    ),
    "a list of files": Escape(
        Restriction.FILES, escapes.list_folder, lambda s: s.outside, LANDLOCK
    ),
    "a file outside": Escape(
        Restriction.FILES, escapes.write_file, lambda s: s.outside / "new", LANDLOCK
    ),
    "a new original": Escape(
        Restriction.FILES, escapes.write_file, lambda s: s.source / "new", LANDLOCK
    ),
    "another original": Escape(
        Restriction.FILES, escapes.write_file, lambda s: s.source / "original", LANDLOCK
    ),
    "an empty original": Escape(
        Restriction.FILES, escapes.truncate, lambda s: s.source / "original", by_version(3)
    ),
    "a file that was not reserved": Escape(
        Restriction.FILES, escapes.write_file, lambda s: s.reserved.with_name("new"), LANDLOCK
    ),
    "no original": Escape(
        Restriction.FILES, escapes.remove, lambda s: s.source / "original", EITHER
    ),
    "a moved original": Escape(
        Restriction.FILES, escapes.move, lambda s: (s.reserved, s.source / "original"), EITHER
    ),
    "a folder": Escape(Restriction.FILES, escapes.make_folder, lambda s: s.source / "sub", EITHER),
    "a mode": Escape(
        Restriction.FILES, escapes.change_mode, lambda s: s.source / "original", SECCOMP
    ),
    "a time": Escape(
        Restriction.FILES, escapes.change_time, lambda s: s.source / "original", SECCOMP
    ),
    "a program": Escape(Restriction.PROGRAMS, escapes.run_program, lambda _: None, EITHER),
    "becoming a program": Escape(Restriction.PROGRAMS, escapes.execute, lambda _: None, EITHER),
    "a process": Escape(Restriction.PROCESSES, escapes.fork, lambda _: None, SECCOMP),
    "a signal": Escape(Restriction.SIGNALS, escapes.end, lambda s: s.victim.pid, by_version(6)),
    "a signal to this process": Escape(
        Restriction.SIGNALS, escapes.call_out, lambda _: os.getpid(), by_version(6)
    ),
    "a signal by the kernel": Escape(
        Restriction.SIGNALS, escapes.end_by_a_pipe, lambda s: s.victim.pid, by_version(6)
    ),
    "the environment of another": Escape(
        Restriction.SPYING,
        escapes.read_file,
        lambda s: Path(f"/proc/{s.victim.pid}/environ"),
        LANDLOCK,
        doubtful=True,
    ),
    "tracing": Escape(
        Restriction.SPYING, escapes.attach, lambda s: s.victim.pid, EITHER, doubtful=True
    ),
    "the memory of another": Escape(
        Restriction.SPYING,
        escapes.read_memory,
        lambda s: (s.victim.pid, s.address),
        EITHER,
        doubtful=True,
    ),
    "memory": Escape(Restriction.MEMORY, escapes.eat_memory, lambda _: 300 * MB, LIMITS),
    "processor time": Escape(Restriction.CPU, escapes.eat_cpu, lambda _: 4.0, LIMITS),
    "a large file": Escape(
        Restriction.FILE_SIZE, escapes.write_much, lambda s: (s.reserved, 2 * MB), LIMITS
    ),
    "many files": Escape(
        Restriction.OPEN_FILES, escapes.open_many, lambda s: (s.source / "original", 100), LIMITS
    ),
    "more files than allowed": Escape(
        Restriction.OPEN_FILES,
        escapes.raise_the_limit,
        lambda _: (resource.RLIMIT_NOFILE, 100),
        LIMITS,
    ),
}
FONTS = Path("/usr/share/fonts")
FILES_BEHIND_SECCOMP = {"a mode", "a time"}
"""Landlock keeps files from being opened and removed, and nothing more."""


@pytest.mark.parametrize("name", ESCAPES)
async def test_escapes_are_held_back_by_what_is_in_force_and_by_that_only(
    ground: Ground, name: str
) -> None:
    escape, found = ESCAPES[name], ground.sandbox_status
    with staged(ground) as scene:
        try:
            await ground.pool.run(escape.job, escape.argument(scene), timeout=LONG)
            escaped = True
        except WorkerDiedError:
            escaped = escape.job is escapes.execute  # the program that it became has ended
        except (OSError, MemoryError, ValueError, OriginalTooComplexError):
            escaped = False
        if escape.job in {escapes.end, escapes.end_by_a_pipe}:
            escaped = scene.killed
        if escape.held(found):
            assert not escaped
        elif not escape.doubtful or (ROOT and not ground.mechanisms):
            assert escaped
        if escape.restriction in found.restrictions and name not in FILES_BEHIND_SECCOMP:
            assert not escaped
        if escape.restriction is Restriction.NETWORK and escape.job is not escapes.listen_tcp:
            assert scene.heard is (escaped and escape.job is not escapes.open_socket)
        # Whatever was tried: the pool goes on.
        assert await ground.pool.run(jobs.echo, name, timeout=LONG) == name


async def test_the_mechanisms_that_are_configured_are_applied(ground: Ground) -> None:
    assert {*Mechanism} - {*ground.sandbox_status.unavailable} == ground.mechanisms
    assert ground.sandbox_status.landlock in {0, available().landlock}
    assert ground.sandbox_status.seccomp in {"", available().seccomp}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandboxed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    """A worker behind all the mechanisms that this system has."""
    async with confined(tmp_path_factory.mktemp("sandboxed")) as ground:
        yield ground


# --- what workers must be able to do --------------------------------------------------------


async def test_originals_that_come_later_can_be_read(sandboxed: Ground) -> None:
    with staged(sandboxed) as scene:
        for path in (scene.source / "original", scene.source / "later"):
            path.write_bytes(b"pixels")
            assert await sandboxed.pool.run(escapes.read_file, path, timeout=LONG) == b"pixels"


async def test_what_was_reserved_can_be_written(sandboxed: Ground) -> None:
    with staged(sandboxed) as scene:
        await sandboxed.pool.run(escapes.write_file, scene.reserved, timeout=LONG)
        assert scene.reserved.read_bytes() == escapes.MESSAGE


async def test_threads_can_be_started(sandboxed: Ground) -> None:
    assert await sandboxed.pool.run(escapes.start_threads, None, timeout=LONG) == 8


async def test_modules_can_be_imported_when_they_are_needed(sandboxed: Ground) -> None:
    assert await sandboxed.pool.run(jobs.import_module, "xml.dom.minidom", timeout=LONG)


@pytest.mark.skipif(not FONTS.is_dir(), reason="no fonts are installed")
async def test_fonts_can_be_read(sandboxed: Ground) -> None:
    """PDFium looks for those that a document does not have."""
    assert await sandboxed.pool.run(escapes.list_folder, FONTS, timeout=LONG) == os.listdir(FONTS)


async def test_random_numbers_can_be_read(sandboxed: Ground) -> None:
    """As qpdf does for encrypted documents."""
    assert await sandboxed.pool.run(jobs.read_random, 8, timeout=LONG) == 8


async def test_every_format_is_read_and_made_as_it_is_outside(tmp_path: Path) -> None:
    """The libraries need nothing that is held back, not even where they would do without it."""
    limits = limits_for(
        source_pixels=10**8, result_pixels=10**8, threads=2, originals=2, deadline=LONG
    )
    setup: dict[str, Any] = {"function": prepare_process, "arguments": (2, 2)}
    async with confined(tmp_path, limits=limits, **setup) as ground:
        prepare_process(2, 2)
        pixels = pictures.photograph()
        for picture in pictures.PICTURES:
            original = ground.source / picture.name
            original.write_bytes(picture.encode(pixels))
            formats = Format if picture.name == "8.png" else (Format.PNG, Format.JPG)
            for format_ in formats:
                request = f"3,5,90,70/45,35/90/default.{format_}"
                target = ground.incoming / "made"
                target.touch()
                made = await ground.pool.run(
                    render, plan_request(original, request, target=target), timeout=LONG
                )
                assert (made.data, made.engine) == (None, derive(original, request).made_by)
                if format_ is not Format.PDF:  # which says when it was made
                    assert target.read_bytes() == derive(original, request).data, request


# --- what nothing may do --------------------------------------------------------------------

CALLS = {
    "mount": 165, "umount2": 166, "chroot": 161, "unshare": 272, "setns": 308, "bpf": 321,
    "io_uring_setup": 425, "io_setup": 206, "perf_event_open": 298, "kexec_load": 246,
    "init_module": 175, "memfd_create": 319, "add_key": 248, "keyctl": 250, "pidfd_open": 434,
    "pidfd_getfd": 438, "userfaultfd": 323, "socketpair": 53, "ptrace": 101,
    "process_vm_writev": 311, "open_by_handle_at": 304, "shmget": 29, "msgget": 68, "mknod": 133,
    "personality": 135, "clone3": 435, "setuid": 105, "swapon": 167, "quotactl": 179,
}  # fmt: skip


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.skipif(not available().seccomp, reason="this system has no seccomp")
@pytest.mark.parametrize("name", CALLS)
async def test_system_calls_that_no_image_needs_are_not_there(sandboxed: Ground, name: str) -> None:
    with pytest.raises(OSError, match="no such call"):
        await sandboxed.pool.run(escapes.call, CALLS[name], timeout=LONG)


@pytest.mark.skipif(not available().seccomp, reason="this system has no seccomp")
async def test_shared_memory_does_not_get_around_the_limit(sandboxed: Ground) -> None:
    with pytest.raises(OSError, match="Function not implemented"):
        await sandboxed.pool.run(escapes.eat_shared_memory, MB, timeout=LONG)


async def test_worker_has_no_descriptors_but_its_own(sandboxed: Ground) -> None:
    """Not those of the server: its listener, its log; nor those of other workers."""
    found = await sandboxed.pool.run(escapes.descriptors, None, timeout=LONG)
    own = Path(f"/proc/{sandboxed.pool.pids[0]}/fd")
    # libffi 3.5, which ctypes and cffi are built on, keeps its own library open.
    found = {
        descriptor: mode
        for descriptor, mode in found.items()
        if "/libffi" not in os.readlink(own / str(descriptor))  # noqa: PTH115
    }
    kinds = sorted(stat.S_IFMT(mode) for mode in found.values())
    # Its socket, its standard error, its standard input and output, and its own size in /proc.
    assert kinds == sorted([stat.S_IFSOCK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFCHR, stat.S_IFREG])
    for descriptor, mode in found.items():
        leads_to = os.readlink(own / str(descriptor))  # noqa: PTH115
        if stat.S_ISCHR(mode):
            assert leads_to == os.devnull
        if stat.S_ISREG(mode):
            assert leads_to == f"/proc/{sandboxed.pool.pids[0]}/statm"


# --- limits ---------------------------------------------------------------------------------


async def test_processor_time_is_given_for_each_job(tmp_path: Path) -> None:
    async with confined(tmp_path) as ground:
        before = ground.pool.pids
        for used in (0.6, 1.2, 1.8, 2.4):
            assert await ground.pool.run(escapes.eat_cpu, used, timeout=LONG) >= used
        assert ground.pool.pids == before


async def test_image_that_takes_too_much_memory_is_refused_with_the_reason(tmp_path: Path) -> None:
    """And the next one is made, by the same worker."""
    limits = replace(SMALL, memory=120 * MB, cpu_seconds=600, open_files=256)
    setup: dict[str, Any] = {"function": prepare_process, "arguments": (2, 1)}
    async with confined(tmp_path, limits=limits, **setup) as ground:
        before = ground.pool.pids
        original = ground.source / "large.png"
        Image.new("RGB", (6000, 6000)).save(original, compress_level=1)
        with pytest.raises(TooMuchMemoryError, match="a smaller one"):
            await ground.pool.run(
                render, plan_request(original, "full/max/90/default.png"), timeout=LONG
            )
        made = await ground.pool.run(
            render, plan_request(original, "0,0,100,100/max/0/default.png"), timeout=LONG
        )
        assert made.length > 0
        assert ground.pool.pids == before


# --- what comes back ------------------------------------------------------------------------


@pytest.mark.parametrize("job", [escapes.send_trojan, escapes.raise_trojan])
async def test_answers_of_a_worker_cannot_do_anything_in_the_server(
    sandboxed: Ground, tmp_path: Path, job: Callable[[Path], object]
) -> None:
    """Objects cannot be sent at all, and of a foreign exception only the text can."""
    with pytest.raises((TypeError, WorkerFailedError)):
        await sandboxed.pool.run(job, tmp_path / "made", timeout=LONG)
    assert os.listdir(tmp_path) == []
    assert await sandboxed.pool.run(jobs.echo, "well", timeout=LONG) == "well"


@pytest.mark.parametrize("name", escapes.MESSAGES)
async def test_worker_that_sends_what_it_may_not_send_is_killed(tmp_path: Path, name: str) -> None:
    """Whatever it is, and however it is sent: the job fails, and the pool goes on."""
    async with confined(tmp_path) as ground:
        (before,) = ground.pool.pids
        with pytest.raises((WorkerDiedError, RenderTimedOutError)):
            await ground.pool.run(escapes.send_message, name, timeout=3.0)
        assert await ground.pool.run(jobs.echo, "well", timeout=LONG) == "well"
        assert before not in ground.pool.pids
        assert not jobs.is_alive(before)


async def test_descriptors_that_a_worker_sends_are_not_taken(tmp_path: Path) -> None:
    """Without a sandbox, as no worker in one can send any."""
    async with confined(tmp_path, frozenset()) as ground:
        await ground.pool.run(jobs.echo, None, timeout=LONG)
        before = set(os.listdir("/proc/self/fd"))
        assert await ground.pool.run(escapes.send_descriptors, None, timeout=LONG) == "sent"
        assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(not available().seccomp, reason="this system has no seccomp")
async def test_a_worker_in_its_sandbox_sends_no_descriptors(sandboxed: Ground) -> None:
    with pytest.raises(OSError, match="Function not implemented"):
        await sandboxed.pool.run(escapes.send_descriptors, None, timeout=LONG)


# --- folders that are replaced --------------------------------------------------------------


async def test_worker_is_renewed_when_one_of_its_folders_was_replaced(tmp_path: Path) -> None:
    """No job fails of it: it does not begin before there is a worker that is let in."""
    async with confined(tmp_path) as ground:
        before = ground.pool.pids
        for folder in (ground.source, ground.incoming):
            folder.rename(tmp_path / f"old-{folder.name}")
            folder.mkdir()
        (ground.source / "original").write_bytes(b"new")
        reserved = ground.incoming / "reserved"
        reserved.touch()
        read = await ground.pool.run(escapes.read_file, ground.source / "original", timeout=LONG)
        await ground.pool.run(escapes.write_file, reserved, timeout=LONG)
        assert read == b"new"
        assert reserved.read_bytes() == escapes.MESSAGE
        assert ground.pool.pids != before
        assert (ground.pool.stats.replaced, ground.pool.stats.renewed) == (0, 1)


async def test_folder_that_comes_later_below_another_needs_no_new_worker(tmp_path: Path) -> None:
    later = tmp_path / "source" / "later"
    confinement = Confinement((tmp_path / "source", later, TESTS), (), SMALL)
    async with confined(tmp_path, confinement=confinement) as ground:
        before = ground.pool.pids
        later.mkdir()
        (later / "original").write_bytes(b"new")
        assert await ground.pool.run(escapes.read_file, later / "original", timeout=LONG) == b"new"
        assert ground.pool.pids == before


async def test_folder_that_comes_later_as_a_link_is_let_in(tmp_path: Path) -> None:
    later = tmp_path / "source" / "later"
    confinement = Confinement((tmp_path / "source", later, TESTS), (), SMALL)
    async with confined(tmp_path, confinement=confinement) as ground:
        (ground.outside / "original").write_bytes(b"new")
        later.symlink_to(ground.outside)
        assert await ground.pool.run(escapes.read_file, later / "original", timeout=LONG) == b"new"


# --- required -------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", Mechanism)
async def test_worker_does_not_start_without_a_mechanism_that_is_required(
    tmp_path: Path, missing: Mechanism
) -> None:
    confinement = Confinement((TESTS,), (), SMALL, required=True, mechanisms=ALL - {missing})
    with pytest.raises(WorkerDiedError):
        async with confined(tmp_path, confinement=confinement):
            pytest.fail("it has started")
