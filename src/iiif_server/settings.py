"""Settings of the server, read from a file and the environment; components declare theirs."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from iiif_server.cache.options import CacheOptions
from iiif_server.configuration import loading
from iiif_server.configuration.problems import nearest
from iiif_server.configuration.sources import ContentSource, build
from iiif_server.configuration.variables import CONFIG, NESTED, PREFIX
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.identifier import RESERVED_TYPES, TYPE_PATTERN
from iiif_server.images.limits import LimitsOptions, PdfOptions
from iiif_server.images.pyramid_options import PyramidOptions
from iiif_server.object_stores.options import BucketOptions
from iiif_server.options import ConflictError, Expects, FolderPath, OptionsModel, UrlPath
from iiif_server.pages.options import PagesOptions, PresentationOptions
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.routes.metrics import MetricsOptions
from iiif_server.server.credentials import AdminOptions
from iiif_server.server.delivery import DeliveryOptions
from iiif_server.server.download_options import DownloadOptions
from iiif_server.server.signing import SigningOptions
from iiif_server.sources.addresses import Networks
from iiif_server.sources.base import TypeOptions
from iiif_server.sources.fetching import FetchOptions
from iiif_server.sources.identifiers import IdentifierReader
from iiif_server.sources.lookup.options import lookup_conflicts
from iiif_server.sources.registry import type_options
from iiif_server.telemetry.logs import LogFormat
from iiif_server.telemetry.traces import TracingOptions
from iiif_server.units import Seconds
from iiif_server.workers.machine import this_machine
from iiif_server.workers.options import WorkerOptions

ENV_PREFIX, ENV_CONFIG, ENV_NESTED = PREFIX, CONFIG, NESTED


def _typed(raw: object) -> object:
    """Validate the options of a type with the model that its source declares."""
    if not isinstance(raw, Mapping):
        return raw
    try:
        return type_options(raw)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error


AnyTypeOptions = Annotated[SerializeAsAny[TypeOptions], BeforeValidator(_typed)]


def _type_name(name: str) -> str:
    if not re.fullmatch(TYPE_PATTERN, name):
        raise ValueError(
            f"the type {name!r} must consist of letters, digits, dots, hyphens and "
            "underscores, and begin with a letter or digit"
        )
    if name.lower() in RESERVED_TYPES:
        raise ValueError(
            f"the type {name!r} cannot have this name: identifiers that begin with {name}: are "
            "URLs and ARKs"
        )
    return name


_SUBSTITUTE = Expects('1 to 8 characters such as "~~", without / % : ; and white space')
_Conflict = tuple[tuple[str, ...], str]
_TypeName = Annotated[str, AfterValidator(_type_name)]


class Settings(BaseSettings, OptionsModel):
    """All settings of the server."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=NESTED, validate_default=False
    )

    base_url: str | None = None
    """Prefix of every `id` in JSON documents. Unset: derived from each request."""
    root_path: UrlPath = ""
    """Path prefix of all URLs, as `/images`, if the proxy passes it on."""
    http_host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    """IP address or host name to listen on."""
    http_port: int = Field(default=4040, ge=0, le=65535)
    """Port to listen on."""
    http_processes: int = Field(default=1, ge=1, le=256)
    """Number of server processes (`--workers`). They share `image_pool_size` and `cache_path`."""
    http_connections: int = Field(default=1000, ge=1)
    """Limit of open connections; the server closes further ones with 503."""
    http_drain: Annotated[Seconds, Field(le=3600)] = 2
    """Drain time after SIGTERM: the server still accepts requests, and `/health/ready` is 503.
    Requests in progress then have 10 more seconds."""
    trusted_proxies: Networks = ()
    """Proxies (IP addresses or CIDR) whose headers `X-Forwarded-*`, `Forwarded`, `X-Request-Id` and
    `X-Accel` are believed. They must overwrite these headers of clients. Unset: none."""
    source_path: FolderPath = Path("./data/source")
    """Folder of originals, with one folder per type."""
    cache_path: FolderPath = Path("./data/cache")
    """Folder of the cache; the server can rebuild all files in it."""
    min_sizes_size: int = Field(default=200, ge=1)
    """Shorter side, in pixels, of the smallest size in `sizes` of info.json. The server adds one
    smaller size where OpenSeadragon would otherwise compute wrong levels."""
    size_pool_size: int = Field(default=2, ge=1)
    """Worker processes that read image headers."""
    image_pool_size: int = Field(default_factory=lambda: this_machine().cpus + 1, ge=1, le=10_000)
    """Worker processes that render images. Each server process reserves one for tiles and small
    images. Default: one more than the CPUs of the machine or container, and at least two per server
    process."""
    info_cache_size: int = Field(default=1024, ge=1)
    """Image headers cached in memory for info.json (LRU)."""
    image_cache_size_per_process: int = Field(default=5, ge=1)
    """Originals that each image worker keeps open (LRU). A job goes to the worker that has its
    original open."""
    max_http_fetches: int = Field(default=10, ge=1)
    """Limit of concurrent fetches of originals, over all types; per host, half as many."""
    default_type: str | None = None
    """Type of identifiers without a type."""
    slash_substitute: Annotated[str, Field(pattern=r"^[^/%:;\s]{1,8}$"), _SUBSTITUTE] | None = None
    """Characters that replace a slash in names, for proxies that change `%2F`. Names of originals
    must not contain them."""
    canonical_redirect: bool = False
    """Whether image requests are redirected to their canonical URL."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level of messages in the log: debug, info, warning or error."""
    log_format: LogFormat = "console"
    """Format of the log: `console`, a line of text per message, or `json`, an object per line."""
    types: dict[_TypeName, AnyTypeOptions] = Field(default_factory=dict)
    """Types of originals, by name."""
    fetch: FetchOptions = FetchOptions()
    cache: CacheOptions = CacheOptions()
    cache_bucket: BucketOptions = BucketOptions()
    pyramids: PyramidOptions = PyramidOptions()
    limits: LimitsOptions = LimitsOptions()
    pdf: PdfOptions = PdfOptions()
    encoding: EncodingOptions = EncodingOptions()
    admin: AdminOptions = AdminOptions()
    signing: SigningOptions = SigningOptions()
    delivery: DeliveryOptions = DeliveryOptions()
    downloads: DownloadOptions = DownloadOptions()
    workers: WorkerOptions = WorkerOptions()
    pages: PagesOptions = PagesOptions()
    metrics: MetricsOptions = MetricsOptions()
    tracing: TracingOptions = TracingOptions()
    presentation: PresentationOptions = PresentationOptions()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Sources of settings, highest precedence first: arguments, then the content of `load`.

        `load` merges these, each overriding those before it: the settings file, the secret files
        that it names, systemd credentials, environment variables and the files that they name.
        Without `load` only arguments count: `Settings()` does not read the environment.
        """
        return init_settings, ContentSource(settings_cls)

    @property
    def identifiers(self) -> IdentifierReader:
        """Reader of identifiers, with the default type and the trusted hosts of types."""
        return IdentifierReader(self.default_type, self.types, self.slash_substitute)

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
            raise ValueError("must be like https://images.example.org/iiif, without a query")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_together(self) -> "Settings":
        conflicts = list(self._conflicts())
        if conflicts:
            raise ConflictError(conflicts)
        return self

    def _conflicts(self) -> Iterator[_Conflict]:
        """Yield contradictions between valid settings: path and problem of each."""
        if self.default_type is not None and self.default_type not in self.types:
            hint = nearest(self.default_type, self.types)
            yield ("default_type",), f"{self.default_type!r} is not one of the types{hint}"
        signed = [name for name, options in self.types.items() if options.access == "signed"]
        if signed and not self.signing.keys:
            path = ("types", signed[0], "access")
            yield path, f"the type {signed[0]!r} is signed: that needs [signing] keys"
        if self.default_type in self.types and self.types[self.default_type].access == "internal":
            yield ("default_type",), f"{self.default_type!r} is internal: nobody gets its images"
        yield from lookup_conflicts(self.types)
        yield from self._folder_conflicts()

    def _folder_conflicts(self) -> Iterator[_Conflict]:
        cache = self.cache_path.absolute()
        if cache == Path(cache.anchor):
            yield ("cache_path",), f"{cache} is the root of the file system; name another folder"
            return
        folders = [self.source_path, *(self.source_path / name for name in self.types)]
        folders += (
            path for options in self.types.values() for path in getattr(options, "path", None) or ()
        )
        for folder in (folder.absolute() for folder in folders):
            inside = _is_visible(cache, folder) and folder != self.source_path.absolute()
            if cache == folder or inside or folder.is_relative_to(cache):
                yield (
                    ("cache_path",),
                    f"{cache} and the folder of originals {folder} must not contain each other",
                )
                return


def _is_visible(path: Path, folder: Path) -> bool:
    """Whether a path is below a folder and not in a hidden folder, which is never served."""
    return path.is_relative_to(folder) and not any(
        part.startswith(".") for part in path.relative_to(folder).parts
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the warnings about their sources."""

    settings: Settings
    file: Path | None
    """Settings file, if one was given."""
    warnings: tuple[str, ...]
    """Warnings as sentences: overridden values, secrets that other users may read."""


def load_settings(config: Path | None = None) -> Settings:
    """Load settings from a TOML or YAML file, if one is given, and from the environment.

    Variables override the file. All paths are absolute. Raises ConfigurationError, whose text names
    all problems: the setting, its value, the accepted values, and for an unknown name the nearest.
    """
    return load(config).settings


def load(
    config: Path | None = None, add: Callable[[dict[str, Any]], None] = lambda _: None
) -> Loaded:
    """Load settings as `load_settings` does; return them with warnings about their sources.

    `add` may change the content of the settings before it is checked.
    """
    loaded = loading.load(Settings, config, os.environ, _service_folders(os.environ), add)
    return Loaded(build(Settings, loaded.content), loaded.file, tuple(loaded.warnings))


def _service_folders(environment: Mapping[str, str]) -> dict[tuple[str | int, ...], Path]:
    """Return default folders from the environment, as systemd or the container image sets them."""
    state, cache = (
        environment.get(name, "").split(":")[0] for name in ("STATE_DIRECTORY", "CACHE_DIRECTORY")
    )
    return {
        **({("source_path",): Path(state, "source")} if state else {}),
        **({("cache_path",): Path(cache)} if cache else {}),
    }
