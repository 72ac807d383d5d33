"""All that a worker is told. Pure: a plan is computed from the header and the rendition alone."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from iiif_server.image_api.formats import Format
from iiif_server.image_api.geometry import Box, Dimensions
from iiif_server.image_api.quality import Quality
from iiif_server.image_api.request import Rendition
from iiif_server.imaging.header import Colour, ImageHeader, Profile
from iiif_server.imaging.options import EncodingOptions
from iiif_server.imaging.turns import UPRIGHT, Turn

MOST_PROFILE_BYTES = 32_768
"""A larger ICC profile is applied and not repeated in every tile."""
_PROFILED_FORMATS = frozenset({Format.JPG, Format.PNG, Format.WEBP, Format.TIF, Format.AVIF})


class Engine(StrEnum):
    """What makes the derivative."""

    ORIGINAL = "original"
    """Nothing: the original's own bytes are what is asked for."""
    JPEGTRAN = "jpegtran"
    """The original's own coefficients, cut and turned."""
    RASTER = "raster"
    """Decoding, working on pixels, and encoding."""


class ProfileAction(StrEnum):
    """What happens to the original's ICC profile."""

    DROP = "drop"
    """The pixels are sRGB, and say nothing."""
    KEEP = "keep"
    """The pixels stay as they are, and the profile goes with them."""
    CONVERT = "convert"
    """The pixels are converted to sRGB."""


@dataclass(frozen=True, slots=True)
class Work:
    """A rendition in terms of the stored pixels: cut, scale, turn, rotate, colour, encode."""

    box: Box
    """What is cut from the stored pixels."""
    size: Dimensions
    """To what it is scaled, before any turn."""
    turn: Turn
    """The quarter turns and mirroring that follow: the original's orientation and the request's."""
    degrees: float
    """The clockwise rotation that follows them, 0 <= degrees < 360, 0 where turns were enough."""
    quality: Quality
    format: Format
    profile: ProfileAction
    shrink: int
    """By how much to reduce while decoding."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A file as it was when its header was read."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """One job for a worker."""

    original: Identity
    header: ImageHeader
    engine: Engine
    work: Work
    encoding: EncodingOptions
    target: Path | None
    """An empty file that takes the result; None: there is nowhere to write."""


def plan_work(header: ImageHeader, rendition: Rendition) -> Work:
    """What has to be done to the stored pixels for a rendition."""
    quarters = rendition.rotation.quarter_turns
    requested = Turn(rendition.rotation.mirror, quarters or 0)
    orientation = header.orientation
    box = orientation.inverse.carry(rendition.region, header.dimensions)
    size = orientation.inverse.apply(rendition.size)
    return Work(
        box=box,
        size=size,
        turn=orientation.then(requested),
        degrees=float(rendition.rotation.degrees) if quarters is None else 0.0,
        quality=rendition.quality,
        format=rendition.format,
        profile=_profile_action(header, rendition),
        shrink=choose_shrink(box, size, header.max_shrink),
    )


def choose_engine(header: ImageHeader, work: Work, *, lossless: bool) -> Engine:
    """The engine that does least to the original's data; `lossless`: jpegtran is there."""
    if not _needs_no_pixels(header, work):
        return Engine.RASTER
    if work.box.covers(header.stored) and work.turn == UPRIGHT and work.quality == Quality.DEFAULT:
        return Engine.ORIGINAL
    if lossless and _on_mcu_grid(header, work):
        return Engine.JPEGTRAN
    return Engine.RASTER


def choose_shrink(box: Box, size: Dimensions, max_shrink: int) -> int:
    """By how much to reduce while decoding.

    The largest power of two that leaves at least twice the target (the rest is scaled with a better
    kernel), and that cuts the region's edges no further off than an eighth of a target pixel.
    """
    shrink = 1
    while shrink * 2 <= max_shrink:
        next_ = shrink * 2
        if min(box.width / size.width, box.height / size.height) < 2 * next_:
            break
        on_grid = box.x % next_ == 0 and box.y % next_ == 0
        if not on_grid and min(box.width / size.width, box.height / size.height) < 8 * next_:
            break
        shrink = next_
    return shrink


def _needs_no_pixels(header: ImageHeader, work: Work) -> bool:
    """Whether the coefficients of a JPEG original are what is asked for, cut and turned at most."""
    return (
        header.jpeg is not None
        and header.jpeg.complete
        and header.jpeg.plain
        and work.format == Format.JPG
        and work.size == work.box.dimensions
        and work.degrees == 0
        and work.profile is not ProfileAction.CONVERT
        and work.quality in {Quality.DEFAULT, Quality.GRAY}
    )


def _on_mcu_grid(header: ImageHeader, work: Work) -> bool:
    """Whether jpegtran can cut and turn without touching a coefficient.

    A partial last MCU of a side can only stay last: a side that is reversed consists of whole ones.
    """
    if header.jpeg is None or header.jpeg.mcu is None:
        return False
    mcu, box = header.jpeg.mcu, work.box
    return (
        box.x % mcu.width == 0
        and box.y % mcu.height == 0
        and not (work.turn.reverses_x and box.width % mcu.width)
        and not (work.turn.reverses_y and box.height % mcu.height)
    )


def _profile_action(header: ImageHeader, rendition: Rendition) -> ProfileAction:
    if header.profile is not Profile.OTHER:
        return ProfileAction.DROP
    keeps = (
        header.colour is not Colour.OTHER
        and header.profile_bytes <= MOST_PROFILE_BYTES
        and rendition.quality == Quality.DEFAULT
        and rendition.format in _PROFILED_FORMATS
    )
    return ProfileAction.KEEP if keeps else ProfileAction.CONVERT
