"""The seam between the server and the places where originals are."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Generic, Literal, TypeVar

from pydantic import AfterValidator, Field, JsonValue

from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import FolderNotFoundError
from iiif_server.options import Expects, OptionsModel
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.listings import Shelf
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.rights import checked_rights
from iiif_server.telemetry.events import Observer
from iiif_server.units import WholeSeconds

_RIGHTS = Expects("the URI of a licence or rights statement")


class TypeOptions(OptionsModel):
    """What every type may say, whatever its source."""

    source: str
    """Which source the originals come from: disk, web, trusted_web, or one from a plug-in."""
    rights: Annotated[str, AfterValidator(checked_rights), _RIGHTS] | None = None
    """URI of a licence (creativecommons.org) or rights statement (rightsstatements.org), repeated
    in each info.json of the type."""
    access: Literal["public", "signed"] = "public"
    """Who gets its images: everyone, or those with a signed, expiring URL (docs/security.md)."""
    cache_for: WholeSeconds = 86_400
    """Time for which clients may keep images and info.json (`Cache-Control: max-age`)."""
    immutable: bool = False
    """Whether an original never changes under its name: then browsers need not ask again within
    `cache_for` even when they reload (`Cache-Control: immutable`)."""
    info: dict[str, JsonValue] = Field(default_factory=dict)
    """Further properties of each info.json: `service`, `partOf`, `seeAlso`, ..."""


Options = TypeVar("Options", bound=TypeOptions)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the server lends to the source of one type."""

    type: str
    folder: Path
    """`{source_path}/{type}`, the type's own."""
    fetcher: Fetcher
    """Guarded HTTP, shared by all types."""
    observer: Observer
    """Whom to tell what happens."""
    threads: StorageThreads = field(default_factory=lambda: StorageThreads("this type"))
    """For blocking calls: those of the type's own storage, so that no other has to wait for it."""


class Source(ABC, Generic[Options]):
    """One type's originals by name.

    A plug-in subclasses this, sets `options` to its model, and implements `hold`.
    """

    options_model: ClassVar[type[TypeOptions]] = TypeOptions
    """The settings that `[types.NAME]` may have for this source."""

    def __init__(self, surroundings: Surroundings, options: Options) -> None:
        self.surroundings = surroundings
        self.options = options

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.surroundings.type}>"

    @abstractmethod
    def hold(self, name: str) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """The original, open, as a local file that stays while the context is open.

        `sources.opening` opens files so that no link leads out of a folder. Raises
        OriginalNotFoundError, SourceUnavailableError or another of `errors`; an OSError is answered
        by its errno. The path may change from call to call, as long as size and modification time
        (or `OpenedFile.content`) tell one state of the original from another. A plain path is
        deprecated: between being named and being opened, it may come to lead elsewhere.
        """

    @property
    def asks_elsewhere(self) -> bool:
        """Whether `hold` may find that an original has changed though its file has not.

        Answers made of such an original are not given again without asking.
        """
        return True

    def names(self) -> Iterator[str] | None:
        """The names of all originals there are, sorted; None where the source cannot tell."""
        return None

    @property
    def browsable(self) -> bool:
        """Whether `browse` can tell."""
        return False

    def browse(self, folder: str) -> Shelf:
        """What lies right in the folder `a/b` of originals; `` is the type's own.

        It is called in a thread of the type, and looks at no more than a person would page
        through. Raises FolderNotFoundError, also where the source cannot tell, or another of
        `errors`.
        """
        del folder
        raise FolderNotFoundError

    def problems(self) -> list[str]:
        """What an operator would have to mend before this type can serve; for `check`."""
        return []
