"""What is said of the fences around workers."""

import pytest

from iiif_server.workers.sandbox.confinement import Barrier, Fence, InForce

USED_UP = {Barrier.MEMORY, Barrier.CPU, Barrier.FILE_SIZE, Barrier.OPEN_FILES}
CALLS = {Barrier.NETWORK, Barrier.PROGRAMS, Barrier.PROCESSES, Barrier.SIGNALS}
OPENED = {Barrier.FILES, Barrier.PROGRAMS, Barrier.SPYING}


@pytest.mark.parametrize(
    ("found", "barriers", "lacking"),
    [
        (InForce(), set(), set(Fence)),
        (InForce(limits=True), USED_UP, {Fence.LANDLOCK, Fence.SECCOMP}),
        (InForce(seccomp="2.5.4"), CALLS, {Fence.LIMITS, Fence.LANDLOCK}),
        (InForce(landlock=1), OPENED, {Fence.LIMITS, Fence.SECCOMP}),
        (InForce(landlock=6), OPENED | {Barrier.SIGNALS}, {Fence.LIMITS, Fence.SECCOMP}),
        (InForce(limits=True, landlock=7, seccomp="2.6.0"), set(Barrier), set()),
    ],
)
def test_no_more_is_promised_than_the_fences_hold(
    found: InForce, barriers: set[Barrier], lacking: set[Fence]
) -> None:
    assert set(found.barriers) == barriers
    assert set(found.lacking) == lacking
