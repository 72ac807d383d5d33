"""Differences between Image API 2.1 and 3.0, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageApiVersion:
    """One version of the Image API."""

    number: str
    """Version number, as `3.0`."""
    path: str
    """Path prefix of the version in URLs."""
    context: str
    """JSON-LD context of its image information."""
    compliance: str
    """URI of compliance level 2."""
    caret_upscales: bool
    """Whether upscaling needs `^` (3.0); in 2.1 it needs no mark."""
    full_size: str
    """Canonical size parameter of an image that is not scaled."""
    accepts_full: bool
    """Whether the size may be `full`."""
    canonical_width_only: bool
    """Whether the canonical size is `w,` if the aspect ratio gives the height."""


V3 = ImageApiVersion(
    number="3.0",
    path="/iiif/3",
    context="http://iiif.io/api/image/3/context.json",
    compliance="http://iiif.io/api/image/3/level2.json",
    caret_upscales=True,
    full_size="max",
    accepts_full=False,
    canonical_width_only=False,
)

V2 = ImageApiVersion(
    number="2.1",
    path="/iiif/2",
    context="http://iiif.io/api/image/2/context.json",
    compliance="http://iiif.io/api/image/2/level2.json",
    caret_upscales=False,
    full_size="full",
    accepts_full=True,
    canonical_width_only=True,
)
