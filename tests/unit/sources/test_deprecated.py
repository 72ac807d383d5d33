"""Deprecated names of the plug-in interface, which work for one release."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, cast

import pytest

from iiif_server.sources import base, fetched, keeping, listings, shelves
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.provenance import Validators
from iiif_server.sources.upstreams import Arrival, Upstream, fetch_original

PAGE = (Path(__file__).parents[3] / "docs/upgrading.md").read_text()
CONTEXT = base.SourceContext("t", Path("t"), cast("Fetcher", None), lambda _: None)


class _Plain(base.Source[base.TypeOptions]):
    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[OpenedFile | Path]:
        yield Path(name)


def _source(kind: type[base.Source[Any]]) -> base.Source[Any]:
    return kind(CONTEXT, base.TypeOptions(source="t"))


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (base, "Surroundings", base.SourceContext),
        (shelves, "Shelf", listings.FolderListing),
        (keeping, "KeptOriginals", fetched.FetchedOriginals),
        (fetched, "KeptOriginals", fetched.FetchedOriginals),
    ],
)
def test_classes(module: ModuleType, old: str, new: type) -> None:
    names = f"{module.__name__}.{old}", f"{new.__module__}.{new.__name__}"
    with pytest.warns(DeprecationWarning, match="{} is now called {}".format(*names)) as caught:
        assert getattr(module, old) is new
    assert caught[0].filename == __file__, "the warning names the plug-in"
    assert "| `{}` | `{}` |".format(*names) in PAGE


def test_a_name_that_never_was_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Shelves'"):
        shelves.Shelves  # noqa: B018


def test_surroundings_is_the_context() -> None:
    source = _source(_Plain)
    with pytest.warns(DeprecationWarning, match="surroundings is now called context"):
        assert source.surroundings is CONTEXT
    assert "`Source.surroundings` | `Source.context`" in PAGE


def test_a_plug_in_that_says_asks_elsewhere_revalidates_by_it() -> None:
    with pytest.warns(DeprecationWarning, match="OfAProperty.asks_elsewhere is now .* revalidates"):

        class OfAProperty(_Plain):
            @property
            def asks_elsewhere(self) -> bool:
                return self.context.type != "t"

    with pytest.warns(DeprecationWarning, match="OfAnAttribute"):

        class OfAnAttribute(_Plain):
            asks_elsewhere: ClassVar[bool] = False

    class Inheriting(OfAProperty):
        pass

    assert _source(_Plain).revalidates
    assert not _source(OfAProperty).revalidates
    assert not _source(OfAnAttribute).revalidates
    assert not _source(Inheriting).revalidates
    assert "`Source.asks_elsewhere` | `Source.revalidates`" in PAGE


async def test_an_upstream_of_a_plug_in_may_still_call_its_fetch_bring() -> None:
    arrival = Arrival(3, 5, "c", Validators())
    requests = list[tuple[Path, Validators]]()

    class OfAPlugIn:
        shown = "plug-in"

        async def bring(self, target: Path, known: Validators) -> Arrival:
            requests.append((target, known))
            return arrival

    known = Validators(etag='"1"')
    with pytest.warns(DeprecationWarning, match=r"OfAPlugIn.bring is now called fetch"):
        found = await fetch_original(cast("Upstream", OfAPlugIn()), Path("t"), known)
    assert (found, requests) == (arrival, [(Path("t"), known)])
    assert "| `Upstream.bring` | `Upstream.fetch` |" in PAGE
