"""Names of worker functions, and their results: plain data that workers send to the server.

The server calls them by these names and so loads no codec. `codecs/jobs.py` imports them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from iiif_server.iiif.formats import Format
from iiif_server.plan.extents import PartialResult
from iiif_server.plan.header import ImageHeader, PageList
from iiif_server.plan.render_plan import Engine
from iiif_server.plan.stored_tiles import TileTable

Result = TypeVar("Result")

TURBOJPEG_AUTO, TURBOJPEG_OFF = "auto", "off"
"""Values of `workers.turbojpeg` that are not paths."""
_INSTALL = (
    "install libturbojpeg0 (Debian), libturbojpeg (Ubuntu, Alpine), turbojpeg (Fedora) or "
    "jpeg-turbo (Homebrew)"
)


@dataclass(frozen=True, slots=True)
class WorkerFunction(Generic[Result]):
    """Worker function by name, so that only the worker process imports it."""

    name: str
    """Module and function, separated by a colon."""
    result: Any
    """Type of the result."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Result:
        """Import the function and call it, in the process that runs it."""
        module, _, function = self.name.partition(":")
        result: Result = getattr(import_module(module), function)(*arguments, **keywords)
        return result


@dataclass(frozen=True, slots=True)
class Rendered:
    """Result of rendering: a derivative."""

    engine: Engine
    """Engine that made the derivative."""
    data: bytes | None
    """Bytes of the derivative; None: they were written to the plan's target."""
    write_error: OSError | None
    """Error of writing to the target; None: there was none."""
    length: int
    stages: Mapping[str, float]
    """Durations of opening, decoding and encoding, in seconds."""


@dataclass(frozen=True, slots=True)
class LibraryReport:
    """Report on the libturbojpeg of a process, for `check` and `/status`."""

    path: str = ""
    """File of the library; empty: no library is in use."""
    version: str = ""
    """Version, as `3.1.3`; empty: unknown."""
    lossless: bool = False
    """Whether lossless crops and turns of JPEGs are available."""
    partial_decoding: bool = False
    """Whether partial decoding of JPEGs is available."""
    problem: str = ""
    """Reason why the file of `workers.turbojpeg` is not in use, for the operator."""

    @property
    def advice(self) -> str:
        """Advice to the operator if a feature is missing; else empty."""
        if not self.lossless:
            return f"JPEG tiles are compressed again, which loses quality: {_INSTALL}"
        if not self.partial_decoding:
            return "Small JPEG tiles are decoded slower than with libjpeg-turbo 3.0 or later"
        return ""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """Capabilities that a worker process reports at its start."""

    versions: Mapping[str, str]
    """Versions of Python and of the imaging libraries, by name."""
    formats: tuple[Format, ...]
    """Output formats that the worker can encode."""
    turbojpeg: LibraryReport


PREPARE_PROCESS: WorkerFunction[WorkerReport] = WorkerFunction(
    "iiif_server.codecs.jobs:prepare_process", WorkerReport
)
READ_HEADER: WorkerFunction[ImageHeader] = WorkerFunction(
    "iiif_server.codecs.probe:probe_file", ImageHeader
)
LIST_PAGES: WorkerFunction[PartialResult[PageList]] = WorkerFunction(
    "iiif_server.codecs.page_list:list_pages", PartialResult[PageList]
)
READ_METADATA: WorkerFunction[bytes] = WorkerFunction(
    "iiif_server.codecs.metadata:read_metadata", bytes
)
MEASURE_RANGE: WorkerFunction[tuple[float, ...]] = WorkerFunction(
    "iiif_server.codecs.measure:measure_range", tuple[float, ...]
)
READ_PARTIAL_HEADER: WorkerFunction[PartialResult[ImageHeader]] = WorkerFunction(
    "iiif_server.codecs.probe:probe_partial", PartialResult[ImageHeader]
)
READ_PARTIAL_TILE_TABLES: WorkerFunction[PartialResult[Mapping[int, TileTable]]] = WorkerFunction(
    "iiif_server.formats.tiff_tables:read_partial_tile_tables",
    PartialResult[Mapping[int, TileTable]],
)
READ_TILE_TABLES: WorkerFunction[Mapping[int, TileTable]] = WorkerFunction(
    "iiif_server.formats.tiff_tables:read_tile_tables", Mapping[int, TileTable]
)
RENDER: WorkerFunction[Rendered] = WorkerFunction("iiif_server.codecs.jobs:render", Rendered)
BUILD_PART: WorkerFunction[int] = WorkerFunction("iiif_server.codecs.jobs:build_part", int)
