"""libturbojpeg: choice of the library, equal bytes from all versions, freed memory."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice, product
from pathlib import Path

import pytest

from iiif_server.codecs import jpegtran, libturbojpeg
from iiif_server.codecs.probe import probe
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.geometry import Box
from iiif_server.plan.jobs import LibraryReport
from iiif_server.plan.orientation import Orientation
from support import pictures

ORIGINALS = Path(__file__).parents[2] / "support" / "originals"
"""Pictures of 100x84 pixels, written once by libjpeg-turbo 3.1.3: their bytes never change."""
TURNS = [Orientation(mirror, quarters) for mirror, quarters in product((False, True), range(4))]

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="of ELF files")


def loaded() -> libturbojpeg.Library:
    found = libturbojpeg.library()
    assert found is not None
    return found


# --- the same bytes from every version -------------------------------------------------------

# The first 64 bits of SHA-256; alike where the coefficients of the original are.
BYTES = {
    "444": "0995c871ebb37c42",
    "422": "e5c418fdbb112e1b",
    "420": "c05531e53590ff44",
    "440": "f02043abd789b03b",
    "411": "1bd20e2657c8270f",
    "441": "822cd36025b7ba47",
    "gray": "110bcb484f731239",
    "progressive": "c05531e53590ff44",
    "arithmetic": "c05531e53590ff44",
}


def transforms(name: str) -> str:
    """Return a checksum of all orientations of a crop, in colour and gray, and of all tiles."""
    path = ORIGINALS / f"{name}.jpg"
    data, header = path.read_bytes(), probe(path, 1_000_000)
    assert header.jpeg is not None
    assert header.jpeg.mcu is not None
    mcu = header.jpeg.mcu
    digest = hashlib.sha256()
    box = Box(mcu.width, mcu.height, mcu.width * (64 // mcu.width), mcu.height * (40 // mcu.height))
    for turn, gray in product(TURNS, (False, True)):
        digest.update(jpegtran.transform(data, box, turn, gray=gray, keep_profile=False))
    boxes = [
        Box(x, y, min(32, 100 - x), min(32, 84 - y)) for y in (0, 32, 64) for x in (0, 32, 64, 96)
    ]
    for tile in jpegtran.split(data, boxes, keep_profile=False):
        digest.update(tile)
    return digest.hexdigest()[:16]


@pytest.mark.needs_lossless
@pytest.mark.parametrize("name", BYTES)
def test_all_versions_give_the_same_bytes(name: str) -> None:
    if name == "441" and not loaded().partial_decoding:
        with pytest.raises(jpegtran.LosslessFailedError):  # 4:4:1 is known from 3.0 on
            transforms(name)
        return
    assert transforms(name) == BYTES[name]


# --- memory ----------------------------------------------------------------------------------


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def abandoned(data: bytes) -> None:
    boxes = [Box(0, y, 1200, 80) for y in range(0, 800, 80)]
    pieces = jpegtran.split(data, boxes, keep_profile=False)
    assert len(list(islice(pieces, 2))) == 2


def one_of_many_off_the_grid(data: bytes) -> None:
    boxes = [Box(0, 0, 1200, 400), Box(3, 0, 100, 100), Box(0, 400, 1200, 400)]
    with pytest.raises(jpegtran.LosslessFailedError):
        list(jpegtran.split(data, boxes, keep_profile=False))


def cut_off(data: bytes) -> None:
    boxes = [Box(0, 0, 1200, 400), Box(0, 400, 1200, 400)]
    with suppress(jpegtran.LosslessFailedError):
        list(jpegtran.split(data[: len(data) // 2], boxes, keep_profile=False))


def damaged(data: bytes) -> None:
    garbled = bytearray(data)
    garbled[2000::997] = bytes(len(garbled[2000::997]))
    with suppress(jpegtran.LosslessFailedError):
        list(jpegtran.split(bytes(garbled), [Box(0, 0, 1200, 400)] * 3, keep_profile=False))


def not_consumed(data: bytes) -> None:
    jpegtran.split(data, [Box(0, 0, 1200, 800)], keep_profile=False)


@needs_linux
@pytest.mark.needs_lossless
@pytest.mark.parametrize(
    "use", [abandoned, one_of_many_off_the_grid, cut_off, damaged, not_consumed]
)
def test_nothing_leaks_where_many_tiles_are_cut(use: Callable[[bytes], None]) -> None:
    data = pictures.jpeg(pictures.photograph(1200, 800), sampling=0, quality=95)

    def operations(times: int) -> None:
        for _ in range(times):
            use(data)

    operations(4)
    before = resident()
    operations(40)
    assert resident() - before < 6_000_000  # the results alone are 300 kB each time


@pytest.mark.needs_lossless
@pytest.mark.parametrize("name", ["12bit", "cmyk"])
def test_unusual_jpegs_are_cut_or_refused(name: str) -> None:
    """The server decodes these files instead; the library must fail cleanly on them."""
    data = (ORIGINALS / f"{name}.jpg").read_bytes()
    for length in (len(data), len(data) * 2 // 3, 200):
        for gray in (False, True):
            with suppress(jpegtran.LosslessFailedError):
                made = jpegtran.transform(
                    data[:length],
                    Box(16, 16, 32, 32),
                    Orientation(False, 1),
                    gray=gray,
                    keep_profile=True,
                )
                assert made.startswith(b"\xff\xd8")
                assert made.endswith(b"\xff\xd9")


@pytest.mark.needs_lossless
@pytest.mark.parametrize("scans", [2, 600])
def test_scans_behind_the_one_of_a_baseline_jpeg_are_refused(scans: int) -> None:
    data = (ORIGINALS / "420.jpg").read_bytes()
    start = data.rindex(b"\xff\xda")
    many = data[:start] + data[start:-2] * scans + b"\xff\xd9"
    with pytest.raises(jpegtran.LosslessFailedError, match="scan"):
        jpegtran.transform(many, Box(0, 0, 64, 64), TURNS[0], gray=False, keep_profile=False)


# --- lookup ----------------------------------------------------------------------------------


def test_off_is_no_library() -> None:
    assert libturbojpeg.find("off") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot open"), (b"", "file too short"), (b"no library" * 100, "invalid ELF header")],
)
@needs_linux
def test_a_file_that_cannot_be_loaded_is_refused_with_the_reason(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "libturbojpeg.so.0"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        libturbojpeg.find(str(path))
    text = str(caught.value)
    assert text.startswith(f'workers.turbojpeg = "{path}" cannot be used: ')
    assert reason in text
    assert text.endswith('Give the absolute path of libturbojpeg 2.1 or later, "auto" or "off".')


@needs_linux
@pytest.mark.needs_lossless
def test_another_library_is_refused() -> None:
    import _cffi_backend  # noqa: PLC0415 - a shared object that surely is there

    with pytest.raises(ConfigurationError, match="another library"):
        libturbojpeg.find(str(_cffi_backend.__file__))


TRANSFORMING = ("tjInitTransform", "tjTransform", "tjDestroy", "tjFree", "tjGetErrorStr2")
PARTIAL_DECODING = (
    *("tj3Init", "tj3Destroy", "tj3Set", "tj3Get", "tj3GetErrorStr", "tj3DecompressHeader"),
    *("tj3SetCroppingRegion", "tj3Decompress8", "tj3Compress8", "tj3Free"),
)


def stand_in(folder: Path, version: str, functions: Sequence[str] = TRANSFORMING) -> Path:
    """Compile a library that states a version; its functions always fail."""
    folder.mkdir()
    source, path = folder / "source.c", folder / "libturbojpeg.so.0"
    source.write_text(
        f'const char *message = "libjpeg-turbo version {version} (build 20260101)";\n'
        + "".join(f"int {name}(void) {{ return -1; }}\n" for name in functions)
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True)
    return path


@needs_compiler
@pytest.mark.parametrize("version", ["1.5.3", "2.0.6", "2.0.90"])
def test_versions_with_dangling_pointers_are_refused(version: str, tmp_path: Path) -> None:
    path = stand_in(tmp_path / "lib", version)
    with pytest.raises(ConfigurationError, match=r"older than libjpeg-turbo 2\.1"):
        libturbojpeg.find(str(path))
    assert report_of(path.parent)["path"] != str(path)


@needs_compiler
@pytest.mark.parametrize("version", ["2.1.0", "2.1.5.1", "2.10.0", "3.0.0"])
def test_version_and_functions_of_a_library_are_told(version: str, tmp_path: Path) -> None:
    functions = TRANSFORMING + PARTIAL_DECODING if version == "3.0.0" else TRANSFORMING
    path = stand_in(tmp_path / "lib", version, functions)
    found = libturbojpeg.find(str(path))
    assert found is not None
    assert (found.path, found.version) == (str(path), version)
    assert found.partial_decoding is (version == "3.0.0")


@needs_compiler
@pytest.mark.parametrize("missing", [*TRANSFORMING, *PARTIAL_DECODING])
def test_a_library_without_one_of_the_functions_is_not_asked_for_it(
    missing: str, tmp_path: Path
) -> None:
    functions = [name for name in TRANSFORMING + PARTIAL_DECODING if name != missing]
    path = stand_in(tmp_path / "lib", "3.0.0", functions)
    if missing in TRANSFORMING:
        with pytest.raises(ConfigurationError, match="another library"):
            libturbojpeg.find(str(path))
        return
    found = libturbojpeg.find(str(path))
    assert found is not None
    assert not found.partial_decoding


def report_of(folder: Path, choice: str = "auto") -> dict[str, object]:
    """Report of a process that searches a folder for libraries and may execute no programs."""
    program = """if True:
        import dataclasses, json, sys
        from iiif_server.codecs import libturbojpeg
        def refuse(event, arguments):
            if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"):
                raise SystemExit(f"{event} {arguments}")
        sys.addaudithook(refuse)
        libturbojpeg.use(sys.argv[1])
        print(json.dumps(dataclasses.asdict(libturbojpeg.library_report())))
    """
    result = subprocess.run(
        [sys.executable, "-c", program, choice],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        check=True,
        text=True,
    )
    report: dict[str, object] = json.loads(result.stdout)
    return report


@needs_compiler
def test_the_systems_library_comes_first_from_version_3_on(tmp_path: Path) -> None:
    path = stand_in(tmp_path / "lib", "3.1.3", TRANSFORMING + PARTIAL_DECODING)
    assert report_of(path.parent) == {
        "path": str(path),
        "version": "3.1.3",
        "lossless": True,
        "partial_decoding": True,
        "problem": "",
    }


@needs_compiler
def test_the_wheels_library_comes_before_the_systems_2(tmp_path: Path) -> None:
    path = stand_in(tmp_path / "lib", "2.1.5")
    in_wheel = list(libturbojpeg._wheel_files())
    assert report_of(path.parent)["path"] == (in_wheel or [str(path)])[0]


@needs_compiler
def test_the_setting_comes_before_all(tmp_path: Path) -> None:
    system = stand_in(tmp_path / "system", "3.1.3", TRANSFORMING + PARTIAL_DECODING)
    chosen = stand_in(tmp_path / "chosen", "2.1.5")
    assert report_of(system.parent, str(chosen))["path"] == str(chosen)
    assert report_of(system.parent, "off")["path"] == ""


@needs_linux
def test_no_program_is_executed_to_find_a_library(tmp_path: Path) -> None:
    """`ctypes.util.find_library` runs a compiler, which the audit hook of the process refuses."""
    assert "problem" in report_of(tmp_path)
    assert "cannot open" in str(report_of(tmp_path, str(tmp_path / "no.so"))["problem"])


def test_advice_fits_what_is_missing() -> None:
    none, old = LibraryReport(), LibraryReport("x", "2.1.5", True)
    assert "libturbojpeg0 (Debian)" in none.advice
    assert "3.0 or later" in old.advice
    assert LibraryReport("x", "3.1.3", True, True).advice == ""
