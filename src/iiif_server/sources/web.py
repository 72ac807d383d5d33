"""Source `web`: originals at URLs made of their names."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from iiif_server.errors import ConfigurationError
from iiif_server.options import ConflictError, Expects
from iiif_server.sources.access import without_secrets
from iiif_server.sources.access_options import HttpAccessOptions, access_of
from iiif_server.sources.base import SourceContext, Step
from iiif_server.sources.fetching import HttpUpstream
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.stored import StoredOptions, StoredSource
from iiif_server.sources.templates import Template, as_url


class FetchedOptions(HttpAccessOptions, StoredOptions):
    """Settings of a type with originals fetched over HTTP."""


Options = TypeVar("Options", bound=FetchedOptions)


class FetchedSource(StoredSource[Options]):
    """Source that fetches originals over HTTP."""

    def __init__(self, context: SourceContext, options: Options) -> None:
        super().__init__(context, options)
        self._access = access_of(options)
        try:
            context.fetcher.client(self._access.connecting)
        except ConfigurationError as error:
            raise ConfigurationError(f"types.{context.type}.{error}") from error

    def upstream(
        self, url: str, trusts: Callable[[str], bool], headers: Mapping[str, str] | None = None
    ) -> HttpUpstream:
        """Upstream at a URL, with the HTTP access of the type.

        `headers` are further secret header fields; they replace those with the same name.
        """
        own = {name.lower(): value for name, value in (headers or {}).items()}
        others = [item for item in self._access.headers if item[0].lower() not in own]
        access = replace(self._access, headers=(*others, *own.items()))
        return HttpUpstream(self.context.fetcher, url, trusts, access)


class WebOptions(FetchedOptions):
    """Settings of a type with originals at URLs made of their names."""

    url: Annotated[str, Expects('a URL such as "https://example.com/images/{name}.jpg"')]
    """Template of the URL of an original, with the name, percent-encoded, in its path or query:
    `{name}`, `{name[0:2]}`, `{dir}`, `{stem}`, `{page}` (docs/sources/templates.md)."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the URL must begin with http:// or https:// and a host")
        if "{" in parts.netloc:
            raise ValueError(
                "fields may stand in the path or the query of the URL, not in its host"
            )
        Template(url)
        if "{" not in url:
            raise ValueError(
                "the URL must have a field: for example https://example.com/images/{name}.jpg"
            )
        return url

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if urlsplit(self.url).username is not None and any(
            name.lower() == "authorization" for name, _ in access_of(self).headers
        ):
            text = "the URL has a user name; use username and password instead"
            raise ConflictError([(("url",), text)])
        return self


class WebSource(FetchedSource[WebOptions]):
    """Source that fetches originals from `url` and stores them at `{source_path}/{type}/{name}`."""

    options_model = WebOptions

    def __init__(self, context: SourceContext, options: WebOptions) -> None:
        super().__init__(context, options)
        self._template = Template(options.url)

    def hold(self, name: str) -> AbstractAsyncContextManager[OpenedFile]:
        """Yield the stored original of this name, after fetching it if it is missing."""
        return self._hold(name, name, 1)

    def hold_page(self, name: str, page: int) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """Yield the original of a page, if `{page}` is in the URL; else that of all pages."""
        if page == 1 or not self._template.has_page:
            return super().hold_page(name, page)
        return self._hold(f"{name};{page}", name, page)

    def _hold(self, kept: str, name: str, page: int) -> AbstractAsyncContextManager[OpenedFile]:
        url = self._template.expand(name, page, quote=as_url)
        upstream = self.upstream(url, lambda _: True)
        return self.hold_stored(kept, upstream, url.partition("?")[0])

    def locate(self, name: str, page: int = 1) -> Iterator[Step]:
        """Steps of the search: the folder of fetched originals, and the URL."""
        url = without_secrets(self._template.expand(name, page, quote=as_url))
        yield Step(str(self.context.folder), "fetched originals are stored here")
        yield Step(url, "it is fetched from here if it is not stored yet")
