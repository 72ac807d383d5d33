"""Image header that tests change with `replace`."""

from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import Colour, ImageHeader, JpegFacts, Profile
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.original_format import OriginalFormat

JPEG = ImageHeader(
    format=OriginalFormat.JPEG,
    stored=Dimensions(1000, 600),
    orientation=UPRIGHT,
    colour=Colour.RGB,
    transparent=False,
    profile=Profile.NONE,
    profile_bytes=0,
    max_shrink=8,
    jpeg=JpegFacts(plain=True, mcu=Dimensions(16, 16), complete=True),
)
