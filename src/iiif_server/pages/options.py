"""Settings of the web pages, and of manifests and collections."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from iiif_server.options import Expects, OptionsModel

_ANCESTOR = re.compile(
    r"\*|self|https?://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:(\d{1,5}|\*))?", re.ASCII
)
"""What may stand in `frame-ancestors` (Content Security Policy 3, 2.3.1), without paths."""


def _ancestor(text: str) -> str:
    """One site that may frame pages; other values of the policy are refused."""
    plain = text.strip().lower().removesuffix("/")
    if plain == "'self'":
        plain = "self"
    if not _ANCESTOR.fullmatch(plain):
        raise ValueError(
            'each must be "self", "*" or an origin without a path, as "https://www.example.org" '
            'or "https://*.example.org"'
        )
    return plain


def _sites(value: object) -> object:
    """Accept a single site without the brackets of a list."""
    return (value,) if isinstance(value, str) else value


_Ancestor = Annotated[str, AfterValidator(_ancestor), Expects('"self", "*" or an origin')]
FrameAncestors = Annotated[tuple[_Ancestor, ...], BeforeValidator(_sites)]


class PagesOptions(OptionsModel):
    """The web pages: gallery, viewer, and the viewer for other sites."""

    title: str = Field(default="Images", min_length=1, max_length=200)
    """What the pages are called, as the name of a collection."""
    gallery: bool = True
    """Whether `/` shows the types that everyone may see, and the folders of those on disk."""
    robots: Literal["front", "all", "none"] = "front"
    """What `/robots.txt` lets crawlers visit: the front page only, everything, or nothing."""
    frame_ancestors: FrameAncestors = ()
    """Sites that may show `/{identifier}/embed` and `/view` in an iframe: origins such as
    `https://www.example.org`, `self`, or `*` for all; empty: none."""

    @property
    def frame_sources(self) -> tuple[str, ...]:
        """The sites as in a Content Security Policy."""
        return tuple("'self'" if text == "self" else text for text in self.frame_ancestors)


class PresentationOptions(OptionsModel):
    """Manifests and collections; `pages.gallery` decides whether there are collections."""

    max_images: int = Field(default=100, ge=1, le=10_000)
    """Images in one manifest, at most, for `/manifest.json?identifiers=`."""
    page_size: int = Field(default=500, ge=1, le=10_000)
    """Images and folders in one collection, at most; a larger folder is one of its parts."""
