"""Names in archives, and how many archives are sent at once."""

import pytest

from iiif_server.errors import BusyError
from iiif_server.server.archive import UniqueNames
from iiif_server.server.download_options import ArchiveSlots


def test_names_are_unique_whatever_the_case() -> None:
    names = UniqueNames()
    given = [
        "a.tif",
        "A.tif",
        "a.TIF",
        "a-2.tif",
        "b.tif",
        "MANIFEST.CSV",
        "missing.csv",
        "STRASSE.tif",
    ]
    made = [names.of(name) for name in [*given, "straße.tif"]]
    assert made[:5] == ["a.tif", "A-2.tif", "a-3.TIF", "a-2-2.tif", "b.tif"]
    assert len({name.casefold() for name in [*made, "manifest.csv", "missing.csv"]}) == 11


def test_names_stay_short_and_safe() -> None:
    names = UniqueNames()
    made = [names.of("x" * 196 + ".tif") for _ in range(20)]
    assert len(set(made)) == 20
    assert all(len(name) <= 200 and name.endswith(".tif") for name in made)


def test_slots_are_given_back() -> None:
    slots = ArchiveSlots(1)
    slots.acquire()
    with pytest.raises(BusyError) as refused:
        slots.acquire()
    assert refused.value.retry_after
    slots.release()
    slots.acquire()
