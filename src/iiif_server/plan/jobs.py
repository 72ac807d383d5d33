"""Worker functions by name, and what they return: plain data that workers send to the server.

The server calls them by these names and so loads no codec. `codecs/jobs.py` imports them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from iiif_server.iiif.formats import Format
from iiif_server.plan.extents import FromParts
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.page_list import PageList
from iiif_server.plan.render_plan import Engine
from iiif_server.plan.stored_tiles import TileTable

Result = TypeVar("Result")

TURBOJPEG_AUTO, TURBOJPEG_OFF = "auto", "off"
"""Values of `workers.turbojpeg` that are no path."""
_INSTALL = (
    "install libturbojpeg0 (Debian), libturbojpeg (Ubuntu, Alpine), turbojpeg (Fedora) or "
    "jpeg-turbo (Homebrew)"
)


@dataclass(frozen=True, slots=True)
class WorkerFunction(Generic[Result]):
    """A function for an executor to run, named so that only the process that runs it imports it."""

    name: str
    """Module and function, separated by a colon."""
    result: Any
    """The type that it returns."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Result:
        """Import the function and call it, in the process that runs it."""
        module, _, function = self.name.partition(":")
        result: Result = getattr(import_module(module), function)(*arguments, **keywords)
        return result


@dataclass(frozen=True, slots=True)
class Rendered:
    """Result of rendering: a derivative."""

    engine: Engine
    """The engine that made it in the end."""
    data: bytes | None
    """Its bytes, where they could not be written to the plan's target; None: they were written."""
    refusal: OSError | None
    """The error of writing, if there was one."""
    length: int
    stages: Mapping[str, float]
    """How long opening, decoding and encoding took, in seconds."""


@dataclass(frozen=True, slots=True)
class LibraryReport:
    """The libturbojpeg that a process uses; for `check` and `/status`."""

    path: str = ""
    """The file that it was loaded from; empty: no library is in use."""
    version: str = ""
    """Such as `3.1.3`; empty: unknown."""
    lossless: bool = False
    """Whether JPEGs can be cut and turned without loss."""
    partial_decoding: bool = False
    """Whether a part of a JPEG can be decoded without the rest."""
    problem: str = ""
    """Why the file that `workers.turbojpeg` names is not in use; for the operator."""

    @property
    def advice(self) -> str:
        """What the operator can do where a feature is missing; empty: nothing."""
        if not self.lossless:
            return f"JPEG tiles lose quality as they are compressed anew: {_INSTALL}"
        if not self.partial_decoding:
            return "Small JPEG tiles are decoded slower than with libjpeg-turbo 3.0 or later"
        return ""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker process has, as it reports when it has started."""

    versions: Mapping[str, str]
    """The versions of Python and of the imaging libraries, by name."""
    formats: tuple[Format, ...]
    """The formats that derivatives can be encoded in."""
    turbojpeg: LibraryReport


PREPARE_PROCESS: WorkerFunction[WorkerReport] = WorkerFunction(
    "iiif_server.codecs.jobs:prepare_process", WorkerReport
)
READ_HEADER: WorkerFunction[ImageHeader] = WorkerFunction(
    "iiif_server.codecs.probe:probe_file", ImageHeader
)
LIST_PAGES: WorkerFunction[FromParts[PageList]] = WorkerFunction(
    "iiif_server.codecs.page_list:list_pages", FromParts[PageList]
)
READ_METADATA: WorkerFunction[bytes] = WorkerFunction(
    "iiif_server.codecs.metadata:read_metadata", bytes
)
MEASURE_RANGE: WorkerFunction[tuple[float, ...]] = WorkerFunction(
    "iiif_server.codecs.measure:measure_range", tuple[float, ...]
)
READ_HEADER_OF_PARTS: WorkerFunction[FromParts[ImageHeader]] = WorkerFunction(
    "iiif_server.codecs.probe:probe_parts", FromParts[ImageHeader]
)
READ_TABLES_OF_PARTS: WorkerFunction[FromParts[Mapping[int, TileTable]]] = WorkerFunction(
    "iiif_server.formats.tiff_tables:tile_tables_of_parts", FromParts[Mapping[int, TileTable]]
)
READ_TILE_TABLES: WorkerFunction[Mapping[int, TileTable]] = WorkerFunction(
    "iiif_server.formats.tiff_tables:read_tile_tables", Mapping[int, TileTable]
)
RENDER: WorkerFunction[Rendered] = WorkerFunction("iiif_server.codecs.jobs:render", Rendered)
BUILD_PART: WorkerFunction[int] = WorkerFunction("iiif_server.codecs.jobs:build_part", int)
