"""Folders of originals are read once for all who look, and put in an order that stays."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from iiif_server.errors import FolderNotFoundError, UnknownTypeError
from iiif_server.images.listings import (
    LISTING_TTL,
    FolderListings,
    in_order,
    position,
    with_words,
)
from iiif_server.images.originals import Originals
from iiif_server.sources.base import Source, SourceContext, TypeOptions
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.listings import FolderListing


def _context() -> SourceContext:
    return SourceContext("t", Path("t"), cast("Fetcher", None), lambda _: None)


class _Blind(Source[TypeOptions]):
    """One that cannot tell what it has."""

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Path]:
        yield Path(name)


class _Listing(_Blind):
    """One with a folder of so many files."""

    def __init__(self, length: int) -> None:
        super().__init__(_context(), TypeOptions(source="disk"))
        self.length = length
        self.read: list[str] = []
        self.slow: Callable[[], None] = lambda: None
        self.go = threading.Event()
        self.go.set()

    def browse(self, folder: str) -> FolderListing:
        self.read.append(folder)
        assert self.go.wait(20)
        self.slow()
        return FolderListing((), tuple(f"{number}" for number in range(self.length)))


@dataclass
class _Clock:
    now: float = field(default=100.0)

    def __call__(self) -> float:
        return self.now


def _listings(source: Source[Any], clock: _Clock, capacity: int = 1000) -> FolderListings:
    return FolderListings(Originals({"t": source}), capacity, clock)


def test_names_are_in_the_order_in_which_a_person_would_put_them() -> None:
    ordered = ["1.jpg", "2.jpg", "10.jpg", "a1b2.jpg", "A1b10.jpg", "a2.jpg", "B.jpg", "b.jpg"]
    shuffled = ordered[3::-1] + ordered[:3:-1]
    assert list(in_order(FolderListing((), tuple(shuffled))).names) == ordered
    assert list(in_order(FolderListing(tuple(shuffled))).folders) == ordered


def test_names_that_look_alike_keep_one_order() -> None:
    names = ("01.jpg", "1.jpg", "001.jpg", "\u00e9.jpg", "e\u0301.jpg", "\u00b2.jpg", "9" * 40)
    one = in_order(FolderListing((), names)).names
    assert in_order(FolderListing((), tuple(reversed(names)))).names == one
    assert sorted(one) == sorted(names)


def test_names_are_found_by_words_and_by_how_they_begin() -> None:
    listing = in_order(FolderListing(("B2", "b10"), ("a1.jpg", "A10.jpg", "c3.jpg", "C20.tif")))
    found = with_words(listing, ("1", "a"))
    assert (found.folders, found.names) == ((), ("a1.jpg", "A10.jpg"))
    assert with_words(listing, ("b",)).folders == ("B2", "b10")
    at = {text: position(listing, text) for text in ("", "b", "b1", "b10", "a", "a2", "c1", "d")}
    assert at == {"": 0, "b": 0, "b1": 4, "b10": 1, "a": 2, "a2": 3, "c1": 4, "d": 6}


async def test_words_are_looked_for_in_what_was_read() -> None:
    clock, source = _Clock(), _Listing(30)
    listings = _listings(source, clock)
    assert (await listings.of("t", "a", ("1", "2"))).names == ("12", "21")
    assert (await listings.of("t", "a", ("9",))).names == ("9", "19", "29")
    assert source.read == ["a"]
    source.length = 10
    clock.now += LISTING_TTL
    assert (await listings.of("t", "a", ("9",))).names == ("9",)


async def test_a_folder_with_more_names_than_are_remembered_is_not_read_for_each_search() -> None:
    source = _Listing(1500)
    listings = _listings(source, _Clock(), capacity=1000)
    for word in ("12", "99", "12"):
        assert (await listings.of("t", "a", (word,))).names
        assert len((await listings.of("t", "a")).names) == 1500
    assert source.read == ["a"]


async def test_a_folder_is_read_again_when_its_time_is_up() -> None:
    clock, source = _Clock(), _Listing(3)
    listings = _listings(source, clock)
    assert (await listings.of("t", "a")).names == ("0", "1", "2")
    clock.now += LISTING_TTL - 0.1
    source.length = 4
    assert len(await listings.of("t", "a")) == 3
    clock.now += 0.2
    assert len(await listings.of("t", "a")) == 4
    assert source.read == ["a", "a"]


async def test_a_folder_that_takes_long_to_read_is_read_less_often() -> None:
    clock, source = _Clock(), _Listing(3)
    listings = _listings(source, clock)
    source.slow = lambda: setattr(clock, "now", clock.now + 2)
    await listings.of("t")
    clock.now += 99
    await listings.of("t")
    assert source.read == [""]
    clock.now += 2
    await listings.of("t")
    assert source.read == ["", ""]


async def test_those_who_look_at_the_same_time_share_one_reading() -> None:
    source = _Listing(3)
    source.go.clear()
    listings = _listings(source, _Clock())
    looking = [asyncio.create_task(listings.of("t")) for _ in range(20)]
    await asyncio.sleep(0)
    source.go.set()
    assert {len(listing) for listing in await asyncio.gather(*looking)} == {3}
    assert source.read == [""]


async def test_what_is_remembered_is_bounded_and_the_oldest_goes() -> None:
    source = _Listing(200)
    listings = _listings(source, _Clock(), capacity=700)
    for folder in ("a", "b", "a", "c", "a", "b"):
        await listings.of("t", folder)
    assert source.read == ["a", "b", "c", "b"]
    assert repr(listings) == "<FolderListings 2 known>"


async def test_a_folder_larger_than_the_bound_is_remembered_alone() -> None:
    source = _Listing(5000)
    listings = _listings(source, _Clock(), capacity=700)
    await listings.of("t", "a")
    await listings.of("t", "a")
    assert source.read == ["a"]


async def test_types_that_cannot_tell_have_no_folders() -> None:
    blind = _Blind(_context(), TypeOptions(source="web"))
    listings = _listings(blind, _Clock())
    assert not blind.browsable
    with pytest.raises(FolderNotFoundError):
        await listings.of("t")
    with pytest.raises(UnknownTypeError, match='no type "other"'):
        await listings.of("other")


def test_many_names_are_in_the_same_order_as_few() -> None:
    names = [f"plate {number}.jpg" for number in range(12_000)]
    assert list(in_order(FolderListing((), tuple(reversed(names)))).names) == names
