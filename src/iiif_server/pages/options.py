"""Settings of the web pages, and of manifests and collections."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from iiif_server.options import Expects, OptionsModel

_ANCESTOR = re.compile(
    r"\*|self|https?://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:(\d{1,5}|\*))?", re.ASCII
)
"""Origins in `frame-ancestors` (Content Security Policy 3, 2.3.1), without paths."""


def _ancestor(text: str) -> str:
    """Normalized origin of a site that may frame pages; ValueError for other texts."""
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
    """Accept a single site as a string instead of a list."""
    return (value,) if isinstance(value, str) else value


_Ancestor = Annotated[str, AfterValidator(_ancestor), Expects('"self", "*" or an origin')]
FrameAncestors = Annotated[tuple[_Ancestor, ...], BeforeValidator(_sites)]


class PagesOptions(OptionsModel):
    """Web pages: gallery, viewer, and the viewer for iframes of other sites."""

    title: str = Field(default="Images", min_length=1, max_length=200)
    """Title of the web pages, such as the name of the collection."""
    gallery: bool = True
    """Whether `/` shows the public types, and the folders of those on disk."""
    robots: Literal["front", "all", "none"] = "front"
    """Pages that `/robots.txt` allows crawlers to visit: the front page only, all, or none."""
    frame_ancestors: FrameAncestors = ()
    """Sites that may show `/{identifier}/embed` and `/view` in an iframe: origins such as
    `https://www.example.org`, `self`, or `*` for all; empty: none."""

    @property
    def frame_sources(self) -> tuple[str, ...]:
        """Sites in the syntax of Content Security Policy."""
        return tuple("'self'" if text == "self" else text for text in self.frame_ancestors)


class PresentationOptions(OptionsModel):
    """Manifests and collections; there are collections only with `pages.gallery`."""

    max_images: int = Field(default=100, ge=1, le=10_000)
    """Maximum images in one manifest of `/manifest.json?identifiers=`."""
    page_size: int = Field(default=500, ge=1, le=10_000)
    """Maximum images and folders in one collection; the collection of a larger folder has parts."""
