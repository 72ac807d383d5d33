"""Binding of libturbojpeg, the JPEG codec library: which file is loaded, and its C functions.

The functions are called through cffi's ABI mode: no compiler is needed, and one binding fits every
library from 2.1 to 3.x. Types and constants are those of turbojpeg.h, in which they have not
changed since 2.0.
"""

import mmap
import re
import sys
from collections.abc import Iterator
from ctypes import CDLL
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from cffi import FFI

from iiif_server.errors import ConfigurationError
from iiif_server.plan.jobs import TURBOJPEG_AUTO, TURBOJPEG_OFF, LibraryReport

_TRANSFORMING = """
typedef void *tjhandle;
typedef struct { int x, y, w, h; } tjregion;
typedef struct tjtransform {
    tjregion r;
    int op;
    int options;
    void *data;
    int (*customFilter)(short *coeffs, tjregion arrayRegion, tjregion planeRegion,
                        int componentID, int transformID, struct tjtransform *transform);
} tjtransform;
tjhandle tjInitTransform(void);
int tjTransform(tjhandle handle, const unsigned char *jpegBuf, unsigned long jpegSize, int n,
                unsigned char **dstBufs, unsigned long *dstSizes, tjtransform *transforms,
                int flags);
int tjDestroy(tjhandle handle);
void tjFree(unsigned char *buffer);
char *tjGetErrorStr2(tjhandle handle);
"""
_PARTIAL_DECODING = """
tjhandle tj3Init(int initType);
void tj3Destroy(tjhandle handle);
int tj3Set(tjhandle handle, int param, int value);
int tj3Get(tjhandle handle, int param);
char *tj3GetErrorStr(tjhandle handle);
int tj3DecompressHeader(tjhandle handle, const unsigned char *jpeg, size_t size);
int tj3SetCroppingRegion(tjhandle handle, tjregion region);
int tj3Decompress8(tjhandle handle, const unsigned char *jpeg, size_t size,
                   unsigned char *pixels, int pitch, int pixelFormat);
int tj3Compress8(tjhandle handle, const unsigned char *pixels, int width, int pitch, int height,
                 int pixelFormat, unsigned char **jpeg, size_t *size);
void tj3Free(void *buffer);
"""
_LOADED_FROM = """
typedef struct { const char *file; void *base; const char *symbol; void *address; } Dl_info;
int dladdr(const void *address, Dl_info *info);
"""
_FUNCTION = re.compile(r"\b(tj[A-Za-z0-9]+)\(")
_VERSION = re.compile(rb"libjpeg-turbo version (\d+(?:\.\d+)+)")
_MIN_VERSION = (2, 1)
"""Before 2.1, tjTransform left a dangling pointer to the caller when it failed, which is then freed
twice. The library has no function that tells its version: it is read from its file."""

_NAMES = {
    "linux": ("libturbojpeg.so.0",),
    "darwin": (
        "/opt/homebrew/opt/jpeg-turbo/lib/libturbojpeg.0.dylib",
        "/usr/local/opt/jpeg-turbo/lib/libturbojpeg.0.dylib",
        "/opt/local/lib/libturbojpeg.0.dylib",
        "libturbojpeg.0.dylib",
    ),
}
"""Names for the dynamic linker. `ctypes.util.find_library` would execute programs, which a
sandbox forbids and Alpine does not have."""

ffi: Any = FFI()
ffi.cdef(_TRANSFORMING + _PARTIAL_DECODING + _LOADED_FROM)


@dataclass(frozen=True, slots=True)
class Library:
    """A loaded libturbojpeg."""

    functions: Any
    """C functions, by name."""
    path: str
    """File of the library."""
    version: str
    """Version, as `3.1.3`; empty: unknown."""
    partial_decoding: bool
    """Whether the library can decode a part of a JPEG (3.0 and later, and its betas)."""


@dataclass(slots=True)
class _Process:
    choice: str = TURBOJPEG_AUTO


_process = _Process()


def use(choice: str) -> None:
    """Choose the library of this process: `auto`, `off`, or the path of a file.

    With a file that cannot be used, the process works without; see `LibraryReport.problem`.
    """
    _process.choice = choice


def library() -> Library | None:
    """Return the library of this process, or None."""
    try:
        return find(_process.choice)
    except ConfigurationError:
        return None


def library_report() -> LibraryReport:
    """Report on the libturbojpeg of this process."""
    return report(_process.choice)


def report(choice: str) -> LibraryReport:
    """Report on the libturbojpeg that a value of `workers.turbojpeg` leads to."""
    try:
        found = find(choice)
    except ConfigurationError as error:
        return LibraryReport(problem=str(error))
    if found is None:
        return LibraryReport()
    return LibraryReport(found.path, found.version, True, found.partial_decoding)


@cache
def find(choice: str) -> Library | None:
    """Load the library that `workers.turbojpeg` names; None if it is `off`, or `auto` finds none.

    `auto` takes the system's library from version 3.0 on, else the one in the wheel of
    jpegtran-cffi, else the system's 2.x. Raises ConfigurationError if a path is given and its file
    cannot be used.
    """
    if choice == TURBOJPEG_OFF:
        return None
    if choice != TURBOJPEG_AUTO:
        return _load_configured(choice)
    system = _first_usable(_NAMES.get(sys.platform, ()))
    if system is not None and system.partial_decoding:
        return system
    return _first_usable(_wheel_files()) or system


def _load_configured(path: str) -> Library:
    reason = "it is older than libjpeg-turbo 2.1, or another library"
    try:
        found = _load(path)
    except OSError as error:
        found, reason = None, str(error)
    if found is None:
        raise ConfigurationError(
            f'workers.turbojpeg = "{path}" cannot be used: {reason}. Give the absolute path of '
            f'libturbojpeg 2.1 or later, "{TURBOJPEG_AUTO}" or "{TURBOJPEG_OFF}".'
        )
    return found


def _first_usable(names: Iterator[str] | tuple[str, ...]) -> Library | None:
    """Return the first usable library of several."""
    for name in names:
        try:
            found = _load(name)
        except OSError:
            continue
        if found is not None:
            return found
    return None


def _wheel_files() -> Iterator[str]:
    """Yield the files of the library in the wheel of jpegtran-cffi, if installed."""
    try:
        installed = files("jpegtran-cffi-wheels") or ()
    except PackageNotFoundError:
        return
    for file in installed:
        if file.name.startswith("libturbojpeg"):
            yield str(file.locate())


def _load(name: str) -> Library | None:
    """Load a library; None if it cannot be used. Raises OSError if it cannot be loaded."""
    # Given a name, ffi.dlopen falls back to ctypes.util.find_library, which executes programs.
    functions = ffi.dlopen(ffi.cast("void *", CDLL(name)._handle))  # noqa: SLF001 - public by its documentation
    if not _has_functions(functions, _TRANSFORMING):
        return None
    path = _loaded_from(functions) or name
    version = _version(path)
    partial_decoding = _has_functions(functions, _PARTIAL_DECODING)
    if (
        not partial_decoding
        and tuple(map(int, version.split(".") if version else ())) < _MIN_VERSION
    ):
        return None
    return Library(functions, path, version, partial_decoding)


def _has_functions(functions: Any, declarations: str) -> bool:
    """Whether a library has all functions that are declared."""
    return all(hasattr(functions, name) for name in _FUNCTION.findall(declarations))


def _loaded_from(functions: Any) -> str:
    """Return the file of a loaded library; empty if the dynamic linker does not report it."""
    info, linker = ffi.new("Dl_info *"), ffi.dlopen(None)
    address = ffi.cast("void *", ffi.addressof(functions, "tjInitTransform"))
    if not hasattr(linker, "dladdr") or not linker.dladdr(address, info) or not info.file:
        return ""
    path: str = ffi.string(info.file).decode("utf-8", "surrogateescape")
    return path


def _version(path: str) -> str:
    """Return the version in the message table of a library's file; empty if there is none."""
    try:
        with (
            Path(path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            found = _VERSION.search(content)
            return found[1].decode("ascii") if found else ""
    except (OSError, ValueError):  # ValueError: an empty file
        return ""
