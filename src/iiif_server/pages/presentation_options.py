"""What operators can say about manifests."""

from pydantic import Field

from iiif_server.options import OptionsModel


class PresentationOptions(OptionsModel):
    """Manifests and collections; `pages.gallery` decides whether there are collections."""

    max_images: int = Field(default=100, ge=1, le=10_000)
    """Images in one manifest, at most, for `/manifest.json?identifiers=`."""
    page_size: int = Field(default=500, ge=1, le=10_000)
    """Images and folders in one collection, at most; a larger folder is one of its parts."""
