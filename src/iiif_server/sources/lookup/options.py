"""Settings of types with `source = "lookup"`, and the conflicts between these and other types."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from iiif_server.options import Expects, Listed
from iiif_server.sources.access import NO_ACCESS
from iiif_server.sources.access_options import HttpAccessOptions, access_of
from iiif_server.sources.base import TypeOptions
from iiif_server.sources.templates import Template
from iiif_server.units import PositiveSeconds, Seconds

TABLE_SUFFIXES = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json"}


class LookupOptions(HttpAccessOptions):
    """Settings of a type that finds originals in a table, a database or an HTTP service."""

    types: Annotated[tuple[str, ...], Field(min_length=1), Listed]
    """Types that serve the originals, by their own rules: the first one, unless an answer names
    another of them. They may have `access = "internal"`."""
    table: Path | None = None
    """CSV file or JSON Lines file with a column `id` and one of `path`, `url` or `name`. The server
    reads it again after a change."""
    url: Annotated[str, Expects('a URL such as "https://example.com/lookup/{name}"')] | None = None
    """Template of the URL of an HTTP service that answers with JSON (docs/sources/lookup.md)."""
    sql: str | None = None
    """Query with the parameter `:name`, whose columns are those of `table` without `id`."""
    database: SecretStr | None = None
    """URL of the database for `sql`, in the form of SQLAlchemy:
    `postgresql+psycopg://user:password@host/name`."""
    lookup_timeout: PositiveSeconds = 5
    """Timeout of one lookup."""
    found_ttl: Seconds = 60
    """Time for which an answer of a database or service is cached, unless it has `cache_for`."""
    missing_ttl: Seconds = 10
    """Time for which the result is cached that a database or service has no answer for a name."""
    failure_ttl: Seconds = 5
    """Time for which the server does not repeat a failed lookup, but answers with its error."""

    @field_validator("table")
    @classmethod
    def _check_table(cls, table: Path | None) -> Path | None:
        if table is not None and table.suffix.lower() not in TABLE_SUFFIXES:
            raise ValueError(f"its name must end in {', '.join(TABLE_SUFFIXES)}")
        return table

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        Template(url)
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the URL must begin with http:// or https:// and a host")
        if "{" in parts.netloc or "{" not in parts.path + parts.query:
            raise ValueError("{name} must stand in the path or the query of the URL")
        return url

    @field_validator("sql")
    @classmethod
    def _check_sql(cls, sql: str | None) -> str | None:
        if sql is None:
            return None
        if find_spec("sqlalchemy") is None:
            raise ValueError("needs SQLAlchemy: pip install 'iiif-server[sql]'")
        from sqlalchemy import text  # noqa: PLC0415 - an extra

        if set(text(sql).compile().params) != {"name"}:
            raise ValueError("must have the parameter :name, and no other")
        return sql

    @model_validator(mode="after")
    def _check_one(self) -> "LookupOptions":
        ways = [way for way in ("table", "url", "sql") if getattr(self, way) is not None]
        if len(ways) != 1:
            raise ValueError(
                f"one of table, url and sql is needed, not {' and '.join(ways) or 'none'}"
            )
        if (self.sql is None) != (self.database is None):
            raise ValueError("sql and database belong together")
        if self.url is None and access_of(self) != NO_ACCESS:
            raise ValueError("settings of HTTP access are for a url")
        return self


def lookup_conflicts(types: Mapping[str, TypeOptions]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Conflicts between lookups and the types that serve their originals: path and text."""
    lookups = {name: one for name, one in types.items() if isinstance(one, LookupOptions)}
    for name, options in lookups.items():
        path = ("types", name, "types")
        for target in options.types:
            if target not in types:
                yield path, f"{target!r} is not one of the types"
            elif types[target].access == "signed" and options.access == "public":
                yield path, f"{target!r} is signed: {name!r} has to be signed as well"
        if name in _reached(name, lookups):
            yield path, f"{name!r} leads back to itself: remove the lookup that refers to it"


def _reached(name: str, lookups: Mapping[str, LookupOptions]) -> set[str]:
    """All types that a lookup can lead to, directly or through other lookups."""
    found: set[str] = set()
    pending = list(lookups[name].types)
    while pending:
        target = pending.pop()
        if target not in found:
            found.add(target)
            pending += lookups[target].types if target in lookups else ()
    return found
