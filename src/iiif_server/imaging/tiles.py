"""Neighbouring JPEG tiles, decoded into one piece."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from iiif_server.image_api.geometry import Box, Dimensions
from iiif_server.imaging import turbojpeg
from iiif_server.imaging.markers import icc_profile

GRID = 16
"""A part that begins at a multiple of it, in a level, is decoded without what lies around it."""

_decoders = ThreadPoolExecutor(2, "decoder")
"""What waits for one image does not use all cores; and decoding leaves the interpreter alone."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Neighbouring tiles of one level, in rows."""

    data: Sequence[bytes]
    across: int
    """How many stand in a row."""
    full: Dimensions
    """The extent of each; those at the right and bottom edge may be smaller."""
    at: Box
    """Where in the level they lie."""

    def pieces(self, part: Box) -> list["Piece"]:
        """What each tile has of a part of the level; the tiles without any are left out."""
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
    """A part of a tile, and where in the result it comes."""

    jpeg: bytes
    inside: Box
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Joined:
    """The pixels of a part of a level: 8-bit gray or RGB, in rows."""

    pixels: bytes | bytearray
    bands: int
    profile: bytes | None
    """The ICC profile that the tiles carry."""


def joined(tiles: Tiles, part: Box) -> Joined:
    """The pixels of a part of a level that the tiles cover. Raises what Pillow raises."""
    pieces = tiles.pieces(part)
    if turbojpeg.AVAILABLE:
        try:
            return _decoded_in_part(pieces, part)
        except turbojpeg.NotDoneError:
            pass  # whatever is wrong, Pillow says it, or knows better
    return _decoded_as_a_whole(pieces, part)


def _decoded_in_part(pieces: Sequence[Piece], part: Box) -> Joined:
    first = pieces[0].jpeg
    canvas = turbojpeg.Canvas.blank(part.width, part.height, turbojpeg.bands_of(first))

    def decode(piece: Piece) -> None:
        turbojpeg.decode(piece.jpeg, piece.inside, canvas, piece.x, piece.y)

    if len(pieces) == 1:
        decode(pieces[0])
    else:
        list(_decoders.map(decode, pieces))
    return Joined(canvas.pixels, canvas.bands, icc_profile(first))


def _decoded_as_a_whole(pieces: Sequence[Piece], part: Box) -> Joined:
    decoded = list(_decoders.map(_opened, (piece.jpeg for piece in pieces)))
    image = Image.new(decoded[0].mode, (part.width, part.height), None)
    for piece, tile in zip(pieces, decoded, strict=True):
        box = piece.inside
        cut = tile.crop((box.x, box.y, box.x + box.width, box.y + box.height))
        image.paste(cut, (piece.x, piece.y))
    profile = decoded[0].info.get("icc_profile")
    return Joined(image.tobytes(), len(image.getbands()), profile)


def _opened(data: bytes) -> Image.Image:
    tile = Image.open(BytesIO(data), formats=["JPEG"])
    tile.load()
    return tile
