"""The interface of sources, which find originals by name; plug-ins implement it."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import (
    FolderNotFoundError,
    PageNotFoundError,
    SourceUnavailableError,
)
from iiif_server.options import Expects, OptionsModel
from iiif_server.plan.header import Treatment
from iiif_server.sources.deprecated import renamed, warn_renamed
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.listings import FolderListing
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.rights import checked_rights
from iiif_server.telemetry.events import Observer
from iiif_server.units import WholeSeconds

_RIGHTS = Expects("the URI of a licence or rights statement")


def _checked_range(value: object) -> object:
    """`type`, `data`, or a pair of ascending numbers, also as JSON in a variable."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, list | tuple):
        numbers = [x for x in value if isinstance(x, int | float) and math.isfinite(x)]
        if len(value) == len(numbers) == 2 and numbers[0] < numbers[1]:  # noqa: PLR2004 - a pair
            return float(numbers[0]), float(numbers[1])
    elif isinstance(value, str) and value in {"type", "data"}:
        return value
    raise ValueError('must be "type", "data", or two numbers, the smaller first, as [0, 4095]')


class TypeOptions(OptionsModel):
    """What every type may say, whatever its source."""

    title: str = Field(default="", max_length=200)
    """The name that people see in the gallery and in collections; unset: the name of the type."""
    source: str
    """Where the originals come from: disk, web, trusted_web, objects, lookup, or the source of a
    plug-in."""
    rights: Annotated[str, AfterValidator(checked_rights), _RIGHTS] | None = None
    """URI of a licence (creativecommons.org) or rights statement (rightsstatements.org), repeated
    in each info.json of the type."""
    access: Literal["public", "signed", "internal"] = "public"
    """Who gets its images: everyone, those with a signed, expiring URL (docs/security.md), or, if
    it is internal, nobody: it only serves what types with the source `lookup` find."""
    original: Literal["no", "download"] = "no"
    """Whether originals are offered as they are, at `/{identifier}/original` and in
    `/originals.zip` (docs/downloads.md)."""
    colour: Literal["keep", "srgb"] = "keep"
    """Colours of derivatives: `keep` those of the original, with its ICC profile where that is
    small and the format has a place for it, or convert everything to `srgb`, also tiles."""
    strip: Literal["nothing", "location"] = "nothing"
    """What is left out of originals that are sent as they are: with `location`, all that says where
    a photograph was taken. JPEGs are then rewritten without loss; other originals are not offered
    for download (docs/formats.md)."""
    range: Annotated[
        Literal["type", "data"] | tuple[float, float], BeforeValidator(_checked_range)
    ] = "type"
    """Sample values shown as black and white, of originals with more than 8 bits of a sample: the
    ends of the `type` (of floating point, 0 and 1), the least and the greatest of each image
    (`data`), or two numbers, as `[0, 4095]` (docs/formats.md)."""
    show_location: bool = False
    """Whether `/{identifier}/metadata.json` says where a photograph was taken."""
    cache_for: WholeSeconds = 86_400
    """Time for which clients may keep images and info.json (`Cache-Control: max-age`)."""
    immutable: bool = False
    """Whether an original never changes under its name: then browsers need not ask again within
    `cache_for` even when they reload (`Cache-Control: immutable`)."""
    info: dict[str, JsonValue] = Field(default_factory=dict)
    """Further properties of each info.json: `service`, `partOf`, `seeAlso`, ..."""

    @property
    def treatment(self) -> Treatment:
        """How images of the type are made."""
        chosen = None if isinstance(self.range, str) else self.range
        return Treatment(
            to_srgb=self.colour == "srgb",
            strip_location=self.strip == "location",
            span=chosen,
            measured=self.range == "data",
        )

    @property
    def takes_urls(self) -> bool:
        """Whether originals may be named by their URLs."""
        return False

    def name_of_url(self, url: str) -> str | None:
        """The name of the original behind a URL; None unless the type trusts it."""
        del url
        return None


Options = TypeVar("Options", bound=TypeOptions)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the search for an original, for `iiif-server locate`."""

    place: str
    """Where it was looked for: a path, or a URL without its secrets."""
    result: str
    """What was there."""
    found: bool = False
    """Whether the original was."""


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What the server provides to the source of one type."""

    type: str
    folder: Path
    """`{source_path}/{type}`, which only this type uses."""
    fetcher: Fetcher
    """HTTP client with checks of addresses and limits, shared by all types."""
    observer: Observer
    """Receives events for the log and the metrics."""
    threads: StorageThreads = field(default_factory=lambda: StorageThreads("this type"))
    """Executor for blocking calls; each type has its own, so that no type waits for another."""
    others: Mapping[str, "Source[Any]"] = field(default_factory=dict, repr=False)
    """The sources of all types, for those that have others serve what they find."""


class Source(ABC, Generic[Options]):
    """The originals of one type, found by name.

    A plug-in subclasses this, sets `options_model`, and implements `hold`.
    """

    options_model: ClassVar[type[TypeOptions]] = TypeOptions
    """The settings that `[types.NAME]` may have for this source."""

    def __init__(self, context: SourceContext, options: Options) -> None:
        self.context = context
        self.options = options

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Accept `asks_elsewhere`, the old name of `revalidates`."""
        super().__init_subclass__(**keywords)
        if "asks_elsewhere" in vars(cls):
            warn_renamed(f"{cls.__name__}.asks_elsewhere", "revalidates")
            type.__setattr__(cls, "revalidates", vars(cls)["asks_elsewhere"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.context.type}>"

    @property
    def surroundings(self) -> SourceContext:
        """The old name of `context`."""
        warn_renamed("Source.surroundings", "context")
        return self.context

    @abstractmethod
    def hold(self, name: str) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """The original as an open local file, which stays as it is while the context is open.

        `sources.opening` opens files so that no link leads out of a folder. Raises
        OriginalNotFoundError, SourceUnavailableError or another of `errors`; an OSError is answered
        by its errno. The path may change from call to call, as long as size and modification time
        (or `OpenedFile.content`) tell one state of the original from another. Yielding a plain path
        is deprecated: the path may lead to another file by the time it is opened.
        """

    def hold_page(self, name: str, page: int) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """The original of a page, counted from 1, for identifiers that end in `;N`.

        It is called if `hold` has no original of the whole name. A source that has a file for each
        page yields that; else it is the file with all pages, of which `OpenedFile.page` is shown.
        """
        return self._hold_page(name, page)

    @asynccontextmanager
    async def _hold_page(self, name: str, page: int) -> AsyncIterator[OpenedFile | Path]:
        async with self.hold(name) as held:
            if isinstance(held, OpenedFile):
                held.page = page
            elif page > 1:
                raise PageNotFoundError.of(page, 1)
            yield held

    def locate(self, name: str, page: int = 1) -> Iterator[Step]:
        """Where an original is looked for, and what is there; without fetching it.

        A source that does not implement it has no steps: then only the result is shown.
        """
        del name, page
        return iter(())

    async def steps(self, name: str, page: int = 1) -> list[Step]:
        """The steps of `locate`, for sources that have to ask somebody first."""
        return await self.context.threads.run(lambda: list(self.locate(name, page)))

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders with the originals on this machine, for `check`."""
        return (self.context.folder,)

    @property
    def treatment(self) -> Treatment:
        """How images of the type are made."""
        return self.options.treatment

    @property
    def links(self) -> tuple[Path, ...]:
        """Folders elsewhere that links in these may lead to, for `check`."""
        return ()

    def hold_at(
        self, location: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """The original at a path or URL that a lookup has found, as `hold` yields it.

        It is checked like a name: the path must be in the folder of the type, the URL one that it
        trusts. `headers` are for the request. Raises what `hold` raises.
        """
        del location, headers
        raise SourceUnavailableError("The source of this original serves no paths and URLs.")

    @property
    def revalidates(self) -> bool:
        """Whether `hold` may find that an original has changed though its file has not.

        Cached answers made from such an original are not used without calling `hold`.
        """
        return True

    @property
    def shares(self) -> bool:
        """Whether other replicas' headers of its originals may stand for fetching them.

        That is so where everybody who asks for a name gets the same original.
        """
        return False

    async def is_here(self, name: str) -> bool:
        """Whether the original of a name need not be fetched, or must not be served at all."""
        del name
        return True

    def names(self) -> Iterator[str] | None:
        """The names of all originals, sorted; None where the source cannot list them."""
        return None

    @property
    def browsable(self) -> bool:
        """Whether `browse` is implemented."""
        return False

    def browse(self, folder: str) -> FolderListing:
        """The originals and folders directly in a folder such as `a/b`; `` is the type's own.

        Called in a thread of the type; it reads a bounded number of entries. Raises
        FolderNotFoundError, also where it is not implemented, or another of `errors`.
        """
        del folder
        raise FolderNotFoundError

    async def close(self) -> None:
        """Give back what the source holds; nothing is requested from it any more."""

    def problems(self) -> list[str]:
        """What an operator has to fix before this type can serve, a sentence each; for `check`."""
        return []

    def upstream_problems(self) -> list[str]:
        """What is wrong elsewhere, or at the way there, a sentence each; for `check` only.

        A server that has other types is not to be taken out of service for it.
        """
        return []


if not TYPE_CHECKING:  # it would hide misspelt names from type checkers
    __getattr__ = renamed(__name__, Surroundings=SourceContext)
