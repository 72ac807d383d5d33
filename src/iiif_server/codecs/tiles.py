"""Decoding of neighbouring JPEG tiles into one pixel buffer."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

from PIL import Image

from iiif_server.codecs import turbojpeg
from iiif_server.codecs.pixel_buffer import PixelBuffer
from iiif_server.formats.jpeg import icc_profile
from iiif_server.iiif.geometry import Box, Dimensions

GRID = 16
"""Alignment of a part that is decoded without surrounding pixels."""

_SINGLE_THREAD_PIXELS = 500_000
"""Maximum pixels for one thread: waking another would take longer."""
_helper = ThreadPoolExecutor(1, "decoder")
"""Second decoding thread; decoders release the interpreter lock."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Tiles:
    """Neighbouring tiles of one level, in rows."""

    data: Sequence[bytes]
    across: int
    """Number of tiles in a row."""
    full: Dimensions
    """Size of a tile; tiles at the right and bottom edge may be smaller."""
    at: Box
    """Box of the tiles in the level."""

    def pieces(self, part: Box) -> list["Piece"]:
        """Return the parts of tiles that cover a part of the level."""
        found = []
        for number, jpeg in enumerate(self.data):
            row, column = divmod(number, self.across)
            left, top = self.at.x + column * self.full.width, self.at.y + row * self.full.height
            x, y = max(part.x, left), max(part.y, top)
            right = min(part.x + part.width, left + self.full.width, self.at.x + self.at.width)
            bottom = min(part.y + part.height, top + self.full.height, self.at.y + self.at.height)
            if x < right and y < bottom:
                inside = Box(x - left, y - top, right - x, bottom - y)
                found.append(Piece(jpeg, inside, x - part.x, y - part.y))
        return found


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a tile, and its position in the result."""

    jpeg: bytes
    box: Box
    x: int
    y: int


def decode_tiles(tiles: Tiles, part: Box) -> PixelBuffer:
    """Decode a part of a level that the tiles cover. Raises what Pillow raises."""
    pieces = tiles.pieces(part)
    if turbojpeg.available():
        with suppress(turbojpeg.TurboJpegError):  # Pillow names the error, or knows more kinds
            return _decode_with_turbojpeg(pieces, part)
    return _decode_with_pillow(pieces, part)


def _decode_with_turbojpeg(pieces: Sequence[Piece], part: Box) -> PixelBuffer:
    first = pieces[0].jpeg
    bands, (width, height) = turbojpeg.bands_of(first), (part.width, part.height)
    target = PixelBuffer(
        bytearray(width * height * bands), width, height, bands, icc_profile(first)
    )

    def decode(piece: Piece) -> None:
        turbojpeg.decode(piece.jpeg, piece.box, target, piece.x, piece.y)

    _map(decode, pieces, part)
    return target


def _decode_with_pillow(pieces: Sequence[Piece], part: Box) -> PixelBuffer:
    decoded = _map(_opened, [piece.jpeg for piece in pieces], part)
    image = Image.new(decoded[0].mode, (part.width, part.height), None)
    for piece, tile in zip(pieces, decoded, strict=True):
        box = piece.box
        cut = tile.crop((box.x, box.y, box.x + box.width, box.y + box.height))
        image.paste(cut, (piece.x, piece.y))
    profile = decoded[0].info.get("icc_profile")
    return PixelBuffer(image.tobytes(), part.width, part.height, len(image.getbands()), profile)


def _opened(data: bytes) -> Image.Image:
    tile = Image.open(BytesIO(data), formats=["JPEG"])
    tile.load()
    return tile


def _map(work: Callable[[Item], Result], items: Sequence[Item], part: Box) -> list[Result]:
    """Map items to results, with a second thread if the part is large enough.

    This thread works, too, instead of waiting: its core keeps warm caches for the next steps.
    """
    if len(items) == 1 or part.dimensions.area < _SINGLE_THREAD_PIXELS:
        return [work(item) for item in items]
    results: dict[int, Result] = {}
    waiting = iter(list(enumerate(items)))  # both threads take items from it

    def process_items() -> None:
        for index, item in waiting:
            results[index] = work(item)

    other = _helper.submit(process_items)
    try:
        process_items()
    finally:
        wait([other])  # it may still be writing
    other.result()
    return [results[index] for index in range(len(items))]
