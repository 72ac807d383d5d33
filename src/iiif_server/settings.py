"""All settings: what each component declares, read from a file and the environment."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from iiif_server.cache.store import CacheOptions
from iiif_server.errors import ConfigurationError
from iiif_server.image_api.identifier import TYPE_PATTERN
from iiif_server.imaging.options import EncodingOptions
from iiif_server.pages.options import PagesOptions
from iiif_server.pipeline.limits import LimitsOptions
from iiif_server.pipeline.pyramids import PyramidOptions
from iiif_server.presentation.options import PresentationOptions
from iiif_server.routes.credentials import AdminOptions
from iiif_server.routes.delivery import DeliveryOptions
from iiif_server.routes.measures import MetricsOptions
from iiif_server.routes.signing import SigningOptions
from iiif_server.sources.base import TypeOptions
from iiif_server.sources.fetching import FetchOptions
from iiif_server.sources.networks import Networks
from iiif_server.sources.registry import source_class, source_names, type_options
from iiif_server.telemetry.logs import LogFormat
from iiif_server.telemetry.traces import TracingOptions
from iiif_server.workers.options import WorkerOptions

ENV_PREFIX = "IIIF_"
ENV_CONFIG = "IIIF_CONFIG"
ENV_NESTED = "__"


def _typed(raw: object) -> object:
    """The options of a type as the model that its source declares."""
    if not isinstance(raw, Mapping):
        return raw
    try:
        return type_options(raw)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error


AnyTypeOptions = Annotated[SerializeAsAny[TypeOptions], BeforeValidator(_typed)]


class Settings(BaseSettings):
    """Everything that an operator can say."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_NESTED,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # it may be a secret
    )

    base_url: str | None = None
    """Prefix of every `id`; unset: derived from each request."""
    root_path: str = Field(default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$")
    """Path that a proxy puts in front and does not strip, as `/images`."""
    http_host: str = "127.0.0.1"
    """Address to listen on."""
    http_port: int = Field(default=4040, ge=0, le=65535)
    """Port to listen on."""
    http_processes: int = Field(default=1, ge=1, le=256)
    """Server processes that share the work, `image_pool_size` and `cache_path` (`--workers`)."""
    http_connections: int = Field(default=1000, ge=1)
    """Connections open at once; further ones are turned away."""
    trusted_proxies: Networks = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    """Proxies (CIDR) whose `X-Forwarded-Proto`, `-Host` and `-Prefix` are believed."""
    source_path: Path = Path("./data/source")
    """Folder of originals, one folder a type below it."""
    cache_path: Path = Path("./data/cache")
    """Folder of derivatives; all in it can be made again."""
    min_sizes_size: int = Field(default=200, ge=1)
    """Smallest side offered in `sizes` of info.json."""
    size_pool_size: int = Field(default=2, ge=1)
    """Processes that read headers of originals."""
    image_pool_size: int = Field(default_factory=lambda: (os.cpu_count() or 1) + 1, ge=1)
    """Processes that make images, for each server process one of which is kept for tiles and small
    images; default: the number of cores and one more, and two a server process at least."""
    info_cache_size: int = Field(default=1024, ge=1)
    """Headers of originals kept in memory for info.json (LRU)."""
    image_cache_size_per_process: int = Field(default=5, ge=1)
    """Originals each image process keeps open (LRU); jobs go to the process that has theirs."""
    max_http_fetches: int = Field(default=10, ge=1)
    """Originals being fetched at once, over all types; from any one host, at most half as many."""
    default_type: str | None = None
    """Type of an identifier that names none."""
    canonical_redirect: bool = False
    """Whether image requests in another than the canonical form are redirected to it."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """What is logged: debug, info, warning or error."""
    log_format: LogFormat = "console"
    """How: `console`, a line of text each, or `json`, an object a line."""
    types: dict[str, AnyTypeOptions] = Field(default_factory=dict)
    """The types of originals, by name."""
    fetch: FetchOptions = FetchOptions()
    cache: CacheOptions = CacheOptions()
    pyramids: PyramidOptions = PyramidOptions()
    limits: LimitsOptions = LimitsOptions()
    encoding: EncodingOptions = EncodingOptions()
    admin: AdminOptions = AdminOptions()
    signing: SigningOptions = SigningOptions()
    delivery: DeliveryOptions = DeliveryOptions()
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
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the file: the file's content is what the constructor is given."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
            raise ValueError("must be like https://images.example.org/iiif")
        return url.rstrip("/")

    @field_validator("types")
    @classmethod
    def _check_types(cls, types: dict[str, TypeOptions]) -> dict[str, TypeOptions]:
        for name in types:
            if not re.fullmatch(TYPE_PATTERN, name):
                raise ValueError(
                    f"the type {name!r} must consist of letters, digits, dots, hyphens and "
                    "underscores, and begin with a letter or digit"
                )
        return types

    @model_validator(mode="after")
    def _check_default_type(self) -> "Settings":
        if self.default_type is not None and self.default_type not in self.types:
            raise ValueError(f"default_type {self.default_type!r} is not one of the types")
        return self

    @model_validator(mode="after")
    def _check_access(self) -> "Settings":
        signed = [name for name, options in self.types.items() if options.access == "signed"]
        if signed and not self.signing.keys:
            raise ValueError(f"the type {signed[0]!r} is signed: that needs [signing] keys")
        return self


def load_settings(config: Path | None = None) -> Settings:
    """The settings of a TOML or YAML file, if there is one, with the environment's over them.

    Raises ConfigurationError, whose text names every setting that cannot be and, for unknown ones,
    the nearest that is known.
    """
    if config is None and os.environ.get(ENV_CONFIG):
        config = Path(os.environ[ENV_CONFIG])
    _refuse_unknown_variables(os.environ)
    try:
        return Settings(**(read_file(config) if config else {}))
    except ValidationError as error:
        where = f" in {config}" if config else ""
        raise ConfigurationError(
            "\n".join([f"The settings{where} cannot be used:", *_explanations(error)])
        ) from error
    except SettingsError as error:
        raise ConfigurationError(
            f"The environment variables {ENV_PREFIX}* cannot be used: {error}; "
            """lists and tables are written in JSON there, like ["10.0.0.0/8"]."""
        ) from error


def read_file(path: Path) -> dict[str, Any]:
    """The content of a settings file; ConfigurationError if it cannot be read or parsed."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() in {".yml", ".yaml"}:
            content = yaml.safe_load(text) or {}
        else:
            content = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        # Its own text repeats the line, which may hold a secret.
        raise ConfigurationError(f"{path} cannot be parsed{_place(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be parsed: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must hold names and values")
    for name in content:
        if not isinstance(name, str) or name.startswith("_"):  # arguments of BaseSettings itself
            raise ConfigurationError(f"{path} cannot be used: {name}: there is no such setting")
    return content


def _place(error: yaml.YAMLError) -> str:
    """What is wrong in YAML, and where, without the words that stand there."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return ""
    problem = re.sub(r"['\"].*['\"]", "...", error.problem or "")
    mark = error.problem_mark
    return f": {problem} (at line {mark.line + 1}, column {mark.column + 1})"


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Raise ConfigurationError for a variable that looks like a setting and is none."""
    known = {ENV_CONFIG, *(ENV_PREFIX + name.upper() for name in Settings.model_fields)}
    for variable in environment:
        first = variable.upper().partition(ENV_NESTED)[0]
        if first.startswith(ENV_PREFIX) and first not in known:
            raise ConfigurationError(
                f"The environment variable {variable} is no setting{_nearest(first, known)}."
            )


def _explanations(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            *parents, name = item["loc"]
            known = _known_names([str(parent) for parent in parents])
            yield f"  {where}: there is no such setting{_nearest(str(name), known)}"
        else:
            message = item["msg"].removeprefix("Value error, ")
            yield f"  {where}: {message}" if where else f"  {message}"


def _known_names(parents: list[str]) -> set[str]:
    """The names that may stand where an unknown one stands."""
    if not parents:
        return set(Settings.model_fields)
    if parents[0] == "types":
        return {name for option in _all_type_models() for name in option.model_fields}
    field = Settings.model_fields.get(parents[0])
    model = field.annotation if field else None
    return (
        set(model.model_fields)
        if isinstance(model, type) and issubclass(model, BaseModel)
        else set()
    )


def _all_type_models() -> Iterator[type[TypeOptions]]:
    for name in source_names():
        with suppress(ConfigurationError):  # a plug-in that cannot be loaded knows no settings
            yield source_class(name).options_model


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
