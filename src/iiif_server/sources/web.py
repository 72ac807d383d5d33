"""Originals on the web whose URL follows from their name."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import field_validator

from iiif_server.errors import OriginalNotFoundError
from iiif_server.options import Expects
from iiif_server.sources.base import Source, SourceContext, TypeOptions
from iiif_server.sources.fetched import KeptOriginals, Origin
from iiif_server.sources.opening import OpenedFile

_PLACEHOLDER = "{name}"


class WebOptions(TypeOptions):
    """A type whose originals are fetched from a URL made of their name."""

    url: Annotated[str, Expects('a URL such as "https://example.com/images/{name}.jpg"')]
    """Where an original is; `{name}` in its path or query stands for the name, encoded."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the URL must begin with http:// or https:// and a host")
        if _PLACEHOLDER in parts.netloc:
            raise ValueError(
                "{name} may stand in the path or the query of the URL, not in its host"
            )
        return url


class WebSource(Source[WebOptions]):
    """`url` with the name in it, fetched once and kept at `{source_path}/{type}/{name}`."""

    options_model = WebOptions

    def __init__(self, context: SourceContext, options: WebOptions) -> None:
        super().__init__(context, options)
        self._kept = KeptOriginals(context)

    def hold(self, name: str) -> AbstractAsyncContextManager[OpenedFile]:
        """The kept original of this name, fetched first if need be."""
        return self._kept.hold(name, Origin(complete(self.options.url, name), lambda _: True))

    @property
    def revalidates(self) -> bool:
        """Whether kept originals are compared with the upstream's."""
        return self.context.fetcher.options.refresh_after is not None


def complete(template: str, name: str) -> str:
    """The URL with the name in place of `{name}`, percent-encoded for where it stands.

    In the path slashes stay slashes; a name that would climb out of its place there raises
    OriginalNotFoundError.
    """
    before_query, question, query = template.partition("?")
    if _PLACEHOLDER in before_query and any(part in {"", ".", ".."} for part in name.split("/")):
        raise OriginalNotFoundError("There is no image with this identifier.")
    path = before_query.replace(_PLACEHOLDER, quote(name, safe="/"))
    return path + question + query.replace(_PLACEHOLDER, quote(name, safe=""))
