"""The differences between Image API 2.1 and 3.0, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageApiVersion:
    """One version of the specification."""

    number: str
    """As in `3.0`."""
    path: str
    """The path below which this version is served."""
    context: str
    """The JSON-LD context of its image information."""
    compliance: str
    """The URI of compliance level 2."""
    caret_upscales: bool
    """Whether a size above the region's needs `^` (3.0), or is simply allowed (2.1)."""
    full_size: str
    """The canonical word for a size that is not scaled."""
    accepts_full: bool
    """Whether the size may be `full`."""
    canonical_width_only: bool
    """Whether the canonical size is `w,` where that alone gives the height."""


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
