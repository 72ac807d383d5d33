"""Originals over which workers died are left alone for a while."""

from pathlib import Path

import pytest

from iiif_server.errors import (
    DamagedOriginalError,
    IiifServerError,
    OriginalTooComplexError,
    QuarantinedError,
    RenderTimedOutError,
    WorkerDiedError,
)
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.originals import Original
from iiif_server.images.quarantine import Quarantine
from iiif_server.plan.local_file import FileVersion, LocalFile
from iiif_server.telemetry.events import Event, Quarantined
from iiif_server.workers.admission import Lane

ANY = (None, Lane.TILE, Lane.BUILD, Lane.FULL)
DIED = WorkerDiedError("It died.")


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def original(name: str = "a", mtime_ns: int = 1, page: int | None = None) -> Original:
    file = LocalFile(Path(name), FileVersion(1, 1, 10, (0, mtime_ns), (0, 1)))
    written = name if page is None else f"{name};{page}"
    return Original(Identifier("disk", written), file, page=page)


def suffer(
    quarantine: Quarantine,
    lane: Lane | None,
    error: IiifServerError = DIED,
    subject: Original | None = None,
) -> None:
    with (
        pytest.raises(type(error)),
        quarantine.guarding(subject or original(), lane),
    ):
        raise error


def closed(quarantine: Quarantine, subject: Original | None = None) -> list[Lane | None]:
    """The lanes that are refused."""
    refused = []
    for lane in ANY:
        try:
            with quarantine.guarding(subject or original(), lane):
                pass
        except QuarantinedError:
            refused.append(lane)
    return refused


@pytest.mark.parametrize(
    "error",
    [
        DIED,
        RenderTimedOutError("It takes too long."),
        OriginalTooComplexError("It takes too much."),
    ],
)
@pytest.mark.parametrize("lane", ANY)
def test_a_lane_in_which_a_worker_was_lost_is_closed_with_those_above_it(
    lane: Lane | None, error: IiifServerError
) -> None:
    quarantine = Quarantine(300, lambda _: None)
    suffer(quarantine, lane, error)
    assert closed(quarantine) == list(ANY[ANY.index(lane) :])


def test_a_refusal_says_how_long() -> None:
    clock = Clock()
    quarantine = Quarantine(300, lambda _: None, clock)
    suffer(quarantine, Lane.TILE)
    clock.now += 100.5
    with pytest.raises(QuarantinedError, match="in 200 seconds") as raised:
        suffer(quarantine, Lane.TILE)
    assert raised.value.retry_after == 200


def test_a_quarantine_ends() -> None:
    clock = Clock()
    quarantine = Quarantine(300, lambda _: None, clock)
    suffer(quarantine, None)
    assert len(quarantine) == 1
    clock.now += 300
    assert len(quarantine) == 0
    assert closed(quarantine) == []


def test_a_second_loss_prolongs_it_and_opens_nothing() -> None:
    clock = Clock()
    quarantine = Quarantine(300, lambda _: None, clock)

    def lose_two() -> None:
        with quarantine.guarding(original(), Lane.FULL):
            suffer(quarantine, Lane.TILE)  # while something else is made of it
            clock.now += 200
            raise DIED

    with pytest.raises(WorkerDiedError):
        lose_two()
    clock.now += 200
    assert closed(quarantine) == [Lane.TILE, Lane.BUILD, Lane.FULL]


def test_an_original_that_is_replaced_is_another() -> None:
    quarantine = Quarantine(300, lambda _: None)
    suffer(quarantine, None)
    assert closed(quarantine, original(mtime_ns=2)) == []
    assert closed(quarantine, original("b")) == []


def test_all_pages_of_a_file_are_left_alone_together() -> None:
    quarantine = Quarantine(300, lambda _: None)
    suffer(quarantine, Lane.TILE, subject=original(page=7))
    for page in (None, 1, 7, 8):
        assert closed(quarantine, original(page=page)) == [Lane.TILE, Lane.BUILD, Lane.FULL]
    assert closed(quarantine, original(mtime_ns=2, page=7)) == []


def test_an_error_that_costs_no_worker_is_no_reason() -> None:
    quarantine = Quarantine(300, lambda _: None)
    suffer(quarantine, Lane.TILE, DamagedOriginalError("It is damaged."))
    assert closed(quarantine) == []


def test_a_refusal_is_no_new_reason() -> None:
    events: list[Event] = []
    quarantine = Quarantine(300, events.append)
    suffer(quarantine, Lane.TILE)
    closed(quarantine)
    assert events == [Quarantined("disk:a", "tile", 300, "It died.")]


def test_a_loss_over_a_header_is_told_as_such() -> None:
    events: list[Event] = []
    suffer(Quarantine(300, events.append), None)
    assert events == [Quarantined("disk:a", "header", 300, "It died.")]


def test_without_seconds_there_is_none() -> None:
    quarantine = Quarantine(0, lambda _: None)
    suffer(quarantine, None)
    assert closed(quarantine) == []


def test_only_so_many_are_remembered() -> None:
    quarantine = Quarantine(300, lambda _: None)
    for number in range(1100):
        suffer(quarantine, None, subject=original(str(number)))
    assert len(quarantine) == 1024
    assert repr(quarantine) == "<Quarantine of 1024>"
    assert closed(quarantine, original("0")) == []
