"""Lookup by a query of an SQL database, through SQLAlchemy."""

from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import ConfigurationError, SourceUnavailableError
from iiif_server.sources.lookup.answers import Answer, parse_answer

_PROBE_NAME = "a name that no original has"


class DatabaseLookup:
    """Lookup by an SQL query with the bound parameter `:name`; its first row is the answer.

    It never commits a transaction.
    """

    is_cached = True

    def __init__(self, database: SecretStr, sql: str, threads: StorageThreads) -> None:
        self._statement = text(sql)
        self._threads = threads
        self._engine = _engine(database)

    def __repr__(self) -> str:
        return f"<DatabaseLookup {self._engine.dialect.name}>"

    async def find(self, name: str) -> Answer | None:
        """Answer for a name; None without a row.

        Raises SourceUnavailableError, whose cause is for the log, or StorageTimedOutError.
        """
        return await self._threads.run(self._find, name)

    def _find(self, name: str) -> Answer | None:
        try:
            with self._engine.connect() as connection:
                row = connection.execute(self._statement, {"name": name}).mappings().first()
            return None if row is None else parse_answer(row)
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise SourceUnavailableError("The lookup of this image has failed.") from cause
        except Exception as error:  # an error of the driver, or a malformed row
            raise SourceUnavailableError("The lookup of this image has failed.") from error

    def problems(self) -> list[str]:
        """Problem of connecting to the database or of the query, if any; blocks."""
        trouble = "the database cannot be reached"
        try:
            with self._engine.connect() as connection:
                trouble = "the database refuses the query of `sql`"
                connection.execute(self._statement, {"name": _PROBE_NAME}).first()
        except Exception as error:  # noqa: BLE001 - drivers raise anything
            cause = getattr(error, "orig", None) or error
            return [f"{trouble}: {type(cause).__name__}: {cause}"]
        return []

    async def close(self) -> None:
        """Close the idle connections."""
        self._threads.begin(self._engine.dispose)


def _engine(database: SecretStr) -> Engine:
    """Create the engine for a URL. Raises ConfigurationError, without the URL and its password."""
    options: dict[str, Any] = {"pool_pre_ping": True, "hide_parameters": True}
    try:
        url = make_url(database.get_secret_value())
    except (SQLAlchemyError, ValueError):
        url = None
    if url is None:
        raise ConfigurationError(
            'database: it is not the URL of a database, such as "postgresql+psycopg://user:password@'
            'host/name"'
        )
    try:
        return create_engine(url, **options)
    except (SQLAlchemyError, ImportError) as error:
        missing = f": install {error.name}" if isinstance(error, ImportError) else ""
        raise ConfigurationError(
            f"database: the driver of {url.drivername} databases cannot be loaded{missing}"
        ) from error
