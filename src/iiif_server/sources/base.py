"""Interface of sources, which find originals by name; plug-ins implement it."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
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
from iiif_server.plan.original_format import USUAL_EXTENSIONS
from iiif_server.sources.deprecated import renamed, warn_renamed
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.listings import FolderListing
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.rights import checked_rights
from iiif_server.telemetry.events import Observer
from iiif_server.units import WholeSeconds

_RIGHTS = Expects("the URI of a licence or rights statement")


def _checked_range(value: object) -> object:
    """Parse a range: `type`, `data`, or two ascending numbers, also as JSON. Raises ValueError."""
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
    """Settings of every type, with any source."""

    title: str = Field(default="", max_length=200)
    """Title of the type in the gallery and in collections; unset: the name of the type."""
    source: str
    """Source of the originals: disk, web, trusted_web, objects, lookup, or the source of a
    plug-in."""
    rights: Annotated[str, AfterValidator(checked_rights), _RIGHTS] | None = None
    """URI of a licence (creativecommons.org) or rights statement (rightsstatements.org), repeated
    in each info.json of the type."""
    access: Literal["public", "signed", "internal"] = "public"
    """Access to the images: `public` for all clients, `signed` for clients with a signed, expiring
    URL (docs/security.md), `internal` for no client, only for types with the source `lookup`."""
    original: Literal["no", "download"] = "no"
    """Whether clients may download originals, at `/{identifier}/original` and in `/originals.zip`
    (docs/downloads.md)."""
    colour: Literal["keep", "srgb"] = "keep"
    """Colours of derivatives: `keep` those of the original, with its ICC profile if it is small and
    the format can store it, or convert all derivatives to `srgb`, also tiles."""
    strip: Literal["nothing", "location"] = "nothing"
    """Metadata to remove from originals that the server sends: with `location`, everything that
    shows where a photograph was taken. JPEGs are then rewritten without loss; other originals
    cannot be downloaded (docs/formats.md)."""
    range: Annotated[
        Literal["type", "data"] | tuple[float, float], BeforeValidator(_checked_range)
    ] = "type"
    """Sample values shown as black and white, for originals with more than 8 bits per sample: the
    limits of the sample `type` (0 and 1 for floating point), the least and the greatest value of
    each image (`data`), or two numbers, as `[0, 4095]` (docs/formats.md)."""
    show_location: bool = False
    """Whether `/{identifier}/metadata.json` shows where a photograph was taken."""
    cache_for: WholeSeconds = 86_400
    """Time for which clients may cache images and info.json (`Cache-Control: max-age`)."""
    immutable: bool = False
    """Whether an original never changes under its name. Then browsers do not revalidate it within
    `cache_for`, even on a reload (`Cache-Control: immutable`)."""
    info: dict[str, JsonValue] = Field(default_factory=dict)
    """Further properties of each info.json: `service`, `partOf`, `seeAlso`, ..."""

    @property
    def treatment(self) -> Treatment:
        """Treatment of the originals of the type: colours, location, range."""
        chosen = None if isinstance(self.range, str) else self.range
        return Treatment(
            to_srgb=self.colour == "srgb",
            strip_location=self.strip == "location",
            sample_range=chosen,
            measured=self.range == "data",
        )

    @property
    def takes_urls(self) -> bool:
        """Whether an identifier may be the URL of an original."""
        return False

    def name_of_url(self, url: str) -> str | None:
        """Name of the original at a URL; None unless the type trusts the URL."""
        del url
        return None


Options = TypeVar("Options", bound=TypeOptions)


@dataclass(frozen=True, slots=True)
class Step:
    """Step of the search for an original, for `iiif-server locate`."""

    place: str
    """Path that was checked, or URL without secrets."""
    result: str
    """Result, for the operator, as `no such file`."""
    found: bool = False
    """Whether this step has found the original."""


@dataclass(frozen=True, slots=True)
class SourceContext:
    """Context of a source: folder, threads and HTTP client for one type."""

    type: str
    folder: Path
    """`{source_path}/{type}`, which only this type uses."""
    fetcher: Fetcher
    """HTTP client with checks of addresses and limits, shared by all types."""
    observer: Observer
    """Receives events for the log and the metrics."""
    threads: StorageThreads = field(default_factory=lambda: StorageThreads("this type"))
    """Executor for blocking calls; each type has its own, so that no type waits for another."""
    extensions: Collection[str] = USUAL_EXTENSIONS
    """Extensions of files that are listed as images."""
    others: Mapping[str, "Source[Any]"] = field(default_factory=dict, repr=False)
    """Sources of all types, for a source that has another type serve an original."""


class Source(ABC, Generic[Options]):
    """Source of the originals of one type, found by name.

    A plug-in subclasses this, sets `options_model`, and implements `hold`.
    """

    options_model: ClassVar[type[TypeOptions]] = TypeOptions
    """Model of the settings in `[types.NAME]` for this source."""

    def __init__(self, context: SourceContext, options: Options) -> None:
        self.context = context
        self.options = options

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Accept `asks_elsewhere`, the deprecated name of `revalidates`."""
        super().__init_subclass__(**keywords)
        if "asks_elsewhere" in vars(cls):
            warn_renamed(f"{cls.__name__}.asks_elsewhere", "revalidates")
            type.__setattr__(cls, "revalidates", vars(cls)["asks_elsewhere"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.context.type}>"

    @property
    def surroundings(self) -> SourceContext:
        """Deprecated name of `context`."""
        warn_renamed("Source.surroundings", "context")
        return self.context

    @abstractmethod
    def hold(self, name: str) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """Yield the original as an open local file, which must not change inside the context.

        Open files with `sources.opening`, so that no link leads out of a folder. Raises
        OriginalNotFoundError, SourceUnavailableError or another error of `errors`; the errno of an
        OSError decides about the response. The path may change from call to call, if size and
        modification time (or `OpenedFile.content`) differ for each version of the original.
        Yielding a plain path is deprecated: it may lead to another file when it is opened.
        """

    def hold_page(self, name: str, page: int) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """Yield the original of a page, counted from 1, for identifiers that end in `;N`.

        The server calls it if `hold` finds no original with the whole name. A source with one file
        per page yields that file. Otherwise it yields the file with all pages and sets
        `OpenedFile.page`. Raises PageNotFoundError, or the errors of `hold`.
        """
        return self._hold_page(name, page)

    @asynccontextmanager
    async def _hold_page(self, name: str, page: int) -> AsyncIterator[OpenedFile | Path]:
        async with self.hold(name) as opened:
            if isinstance(opened, OpenedFile):
                opened.page = page
            elif page > 1:
                raise PageNotFoundError.of(page, 1)
            yield opened

    def locate(self, name: str, page: int = 1) -> Iterator[Step]:
        """Steps of the search for an original, without fetching it; blocks.

        By default there are none: then `iiif-server locate` shows only the result.
        """
        del name, page
        return iter(())

    async def steps(self, name: str, page: int = 1) -> list[Step]:
        """Steps of `locate`; for sources whose search is asynchronous, as in a service."""
        return await self.context.threads.run(lambda: list(self.locate(name, page)))

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of the originals on this machine, for `check`."""
        return (self.context.folder,)

    @property
    def treatment(self) -> Treatment:
        """Treatment of the originals of the type."""
        return self.options.treatment

    @property
    def links(self) -> tuple[Path, ...]:
        """Other folders to which links in `folders` may lead, for `check`."""
        return ()

    def hold_at(
        self, location: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """Yield the original at a path or URL that a lookup has found, as `hold` does.

        The source checks it like a name: the path must be in a folder of the type, and the type
        must trust the URL. `headers` are for the request. Raises the errors of `hold`.
        """
        del location, headers
        raise SourceUnavailableError("The source of this original serves no paths and URLs.")

    @property
    def revalidates(self) -> bool:
        """Whether `hold` may find a change of an original although its local file is unchanged.

        If so, the server calls `hold` before it uses a cached response.
        """
        return True

    @property
    def origin(self) -> str | None:
        """Settings that decide which original a name is, as a text; None: not the settings alone.

        With equal ones, the server uses image headers that other replicas have read, without a
        fetch.
        """
        return None

    async def is_here(self, name: str) -> bool:
        """Whether the original needs no fetch: it is on this machine, or must not be served."""
        del name
        return True

    def names(self) -> Iterator[str] | None:
        """Names of all originals, sorted; None if the source cannot list them."""
        return None

    @property
    def browsable(self) -> bool:
        """Whether `browse` is implemented."""
        return False

    def browse(self, folder: str) -> FolderListing:
        """List the originals and folders directly in a folder such as `a/b`; `` is the top level.

        The server calls it in a thread of the type. It reads a limited number of entries. Raises
        FolderNotFoundError, also if it is not implemented, or another error of `errors`.
        """
        del folder
        raise FolderNotFoundError

    async def close(self) -> None:
        """Release the resources of the source; the server does not use it afterwards."""

    def problems(self) -> list[str]:
        """Problems that keep this type from serving, one sentence each, for the operator.

        `check` and the readiness check use them.
        """
        return []

    def upstream_problems(self) -> list[str]:
        """Problems of the upstream or of the connection, one sentence each; for `check` only.

        They do not affect readiness, as the server may have other types.
        """
        return []


if not TYPE_CHECKING:  # a `__getattr__` would hide misspelt names from type checkers
    __getattr__ = renamed(__name__, Surroundings=SourceContext)
