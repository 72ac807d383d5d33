"""Source `objects`: originals in a bucket, with keys made of their names."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from iiif_server.errors import (
    ConfigurationError,
    FolderNotFoundError,
    IiifServerError,
    OriginalNotFoundError,
    SourceUnavailableError,
)
from iiif_server.object_stores.options import SCHEMES, BucketOptions
from iiif_server.options import Expects
from iiif_server.sources.base import SourceContext, Step
from iiif_server.sources.listings import FolderListing, is_listed
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.stored import StoredOptions, StoredSource
from iiif_server.sources.templates import Template
from iiif_server.telemetry.events import FetchFailed

_MAX_KEYS = 20_000
"""Maximum number of keys read for the listing of a folder: 20 requests."""
_MAX_FOLDERS = 500
"""Maximum number of folders in one listing; each costs a request."""
_LAST = "\U0010ffff"
_CHECK_SECONDS = 5.0
_PROBE = ".iiif-server-check"
"""Key of no object, for the check of the bucket."""


class ObjectsOptions(BucketOptions, StoredOptions):
    """Settings of a type whose originals are objects in a bucket."""

    url: Annotated[str, Expects('a URL such as "s3://bucket/{name}.tif"')]
    """Bucket and key of an original: `s3://`, `gs://` or `az://`, the bucket, and a template of the
    key: `{name}`, `{name[0:2]}`, `{dir}`, `{stem}`, `{page}` (docs/sources/templates.md)."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        _bucket_and_key(url)
        return url

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self.check_scheme(urlsplit(self.url).scheme)
        return self


def _bucket_and_key(url: str) -> tuple[str, Template]:
    """Split a URL into that of the bucket and the template of the key. Raises ValueError."""
    scheme, separator, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in SCHEMES or not separator:
        raise ValueError("the URL must begin with s3://, gs:// or az://")
    if not bucket or set(bucket) & set("{}@:?#"):
        raise ValueError("the URL must have a bucket, without fields, before its first slash")
    template = Template(key)
    if "{" not in key:
        raise ValueError("the key must have a field: for example s3://bucket/{name}.tif")
    return f"{scheme}://{bucket}", template


class ObjectSource(StoredSource[ObjectsOptions]):
    """Source of objects in a bucket, which are fetched once; tiled TIFFs are read in parts."""

    options_model = ObjectsOptions

    def __init__(self, context: SourceContext, options: ObjectsOptions) -> None:
        super().__init__(context, options)
        if find_spec("obstore") is None:
            raise ConfigurationError(
                f"types.{context.type}: object stores need obstore: "
                "pip install 'iiif-server[objects]'"
            )
        self._bucket, self._template = _bucket_and_key(options.url)

    def hold_at(
        self, location: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[OpenedFile]:
        """Yield the object at a URL that the template can give; else OriginalNotFoundError."""
        del headers
        before, after = self._template.affixes or ("", "")
        start = f"{self._bucket}/{before}"
        name = location.removeprefix(start).removesuffix(after)
        if self._template.affixes is None or not name or location != f"{start}{name}{after}":
            raise OriginalNotFoundError
        return self.hold(name)

    def hold(self, name: str) -> AbstractAsyncContextManager[OpenedFile]:
        """Yield the original of this name, or its parts fetched so far."""
        return self._hold_object(name, 1)

    def hold_page(self, name: str, page: int) -> AbstractAsyncContextManager[OpenedFile | Path]:
        """Yield the original of a page, if `{page}` is in the key; else that of all pages."""
        return (
            self._hold_object(name, page)
            if self._template.has_page
            else super().hold_page(name, page)
        )

    @asynccontextmanager
    async def _hold_object(self, name: str, page: int) -> AsyncIterator[OpenedFile]:
        key = self._key(name, page)
        upstream = await self.context.threads.run(self._upstream, key)
        async with self.hold_stored(
            name if page == 1 else f"{name};{page}", upstream, key
        ) as opened:
            yield opened

    def _upstream(self, key: str) -> Any:
        """Upstream of a key. The first call reads files with credentials, so it blocks."""
        try:
            return self._stores.ObjectUpstream(self._store, self.context.fetcher, self._bucket, key)
        except ConfigurationError as error:
            self.context.observer(FetchFailed(f"{self.context.type}:{key}", str(error)))
            raise SourceUnavailableError(
                "The original cannot be read from its object store."
            ) from error

    def _key(self, name: str, page: int) -> str:
        key = self._template.expand(name, page)
        if not key.strip("/") or key != key.strip("/"):
            raise OriginalNotFoundError
        return key

    def locate(self, name: str, page: int = 1) -> Iterator[Step]:
        """Step of the search: the object, and the response of the store."""
        key = self._key(name, page)
        try:
            self._stores.head(self._open_store(_CHECK_SECONDS), key)
        except IiifServerError as error:
            missing = isinstance(error, OriginalNotFoundError)
            yield Step(
                f"{self._bucket}/{key}",
                "no such object" if missing else str(error.__cause__ or error),
            )
        else:
            yield Step(f"{self._bucket}/{key}", "an object", found=True)

    @cached_property
    def _stores(self) -> ModuleType:
        """Module that loads obstore, imported on first use."""
        from iiif_server.sources import object_upstream  # noqa: PLC0415

        return object_upstream

    @cached_property
    def _client(self) -> ModuleType:
        from iiif_server.object_stores import client  # noqa: PLC0415

        return client

    @cached_property
    def _store(self) -> Any:
        return self._open_store()

    def _open_store(self, seconds: float | None = None) -> Any:
        """Open the store; with `seconds`, for checks: with this timeout and without retries."""
        limits = self.context.fetcher.options
        settings = self._client.StoreSettings(
            self._bucket,
            self.options.config(urlsplit(self._bucket).scheme),
            self.options.profile,
            self.options.ca_file,
            float(limits.connect_timeout),
            float(limits.total_timeout),
        )
        if seconds is None:
            return self._client.open_store(settings)
        short = replace(settings, connect_timeout=seconds, total_timeout=seconds)
        return self._client.open_store(short, retries=0)

    def names(self) -> Iterator[str] | None:
        """Names of all originals, in the order of their keys; None if keys do not show names."""
        if self._template.affixes is None:
            return None
        before, after = self._template.affixes
        keys = self._stores.listed(self._store, before.rpartition("/")[0])
        return (
            name
            for key in keys
            if (name := _without_affixes(key, before, after))
            and is_listed(name.rpartition("/")[2] + after, self.context.extensions)
        )

    @property
    def browsable(self) -> bool:
        """Whether keys show names."""
        return self._template.affixes is not None

    def browse(self, folder: str) -> FolderListing:
        """List the keys that begin with a folder, up to the next slash.

        Raises FolderNotFoundError or SourceUnavailableError.
        """
        if self._template.affixes is None or any(
            not part or part.startswith(".") for part in folder.split("/") if folder
        ):
            raise FolderNotFoundError
        before, after = self._template.affixes
        start = before + (f"{folder}/" if folder else "")
        found = self._read_folder(start, after)
        if folder and not len(found):
            raise FolderNotFoundError
        return found

    def _read_folder(self, start: str, after: str) -> FolderListing:
        folders: list[str] = []
        names: list[str] = []
        seen, position = 0, ""
        is_complete = False
        while not is_complete:
            for key in self._stores.listed(self._store, start.rpartition("/")[0], position):
                seen += 1
                if seen > _MAX_KEYS or len(folders) >= _MAX_FOLDERS:
                    return FolderListing(tuple(folders), tuple(names), complete=False)
                inner, slash, _ = _without_affixes(key, start, "").partition("/")
                if slash and inner:
                    if not inner.startswith("."):
                        folders.append(inner)
                    position = f"{start}{inner}/{_LAST}"  # after all keys of the folder
                    break
                name = _without_affixes(key, start, after)
                if name and not slash and is_listed(name + after, self.context.extensions):
                    names.append(name)
            else:
                is_complete = True
        return FolderListing(tuple(folders), tuple(names))

    def problems(self) -> list[str]:
        """Problems of the settings of the bucket, without a request."""
        try:
            self._open_store(_CHECK_SECONDS)
        except ConfigurationError as error:
            return [str(error)]
        return []

    def upstream_problems(self) -> list[str]:
        """Problems of reading the bucket, by a request."""
        try:
            self._stores.head(self._open_store(_CHECK_SECONDS), _PROBE)
        except OriginalNotFoundError:
            return []
        except IiifServerError as error:
            return [f"{self._bucket} cannot be read: {error.__cause__ or error}"]
        return []


def _without_affixes(key: str, before: str, after: str) -> str:
    """Part of a key between a prefix and a suffix; empty for keys without these."""
    if not (key.startswith(before) and key.endswith(after)):
        return ""
    return key[len(before) : len(key) - len(after)]
