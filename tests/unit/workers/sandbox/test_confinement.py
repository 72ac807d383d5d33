"""Sandbox status: applied and unavailable mechanisms."""

import pytest

from iiif_server.workers.sandbox.confinement import Mechanism, Restriction, SandboxStatus

USED_UP = {Restriction.MEMORY, Restriction.CPU, Restriction.FILE_SIZE, Restriction.OPEN_FILES}
CALLS = {Restriction.NETWORK, Restriction.PROGRAMS, Restriction.PROCESSES, Restriction.SIGNALS}
OPENED = {Restriction.FILES, Restriction.PROGRAMS, Restriction.SPYING}


@pytest.mark.parametrize(
    ("found", "barriers", "lacking"),
    [
        (SandboxStatus(), set(), set(Mechanism)),
        (SandboxStatus(limits=True), USED_UP, {Mechanism.LANDLOCK, Mechanism.SECCOMP}),
        (SandboxStatus(seccomp="2.5.4"), CALLS, {Mechanism.LIMITS, Mechanism.LANDLOCK}),
        (SandboxStatus(landlock=1), OPENED, {Mechanism.LIMITS, Mechanism.SECCOMP}),
        (
            SandboxStatus(landlock=6),
            OPENED | {Restriction.SIGNALS},
            {Mechanism.LIMITS, Mechanism.SECCOMP},
        ),
        (SandboxStatus(limits=True, landlock=7, seccomp="2.6.0"), set(Restriction), set()),
    ],
)
def test_no_more_is_promised_than_the_fences_hold(
    found: SandboxStatus, barriers: set[Restriction], lacking: set[Mechanism]
) -> None:
    assert set(found.restrictions) == barriers
    assert set(found.unavailable) == lacking
