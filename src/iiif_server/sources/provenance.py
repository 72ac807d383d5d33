"""Provenance of fetched originals: HTTP validators, checksum, and when to revalidate. Pure."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_RECORD_BYTES = 4096
"""Maximum bytes of a record; real ones are smaller."""
_ENTITY_TAG = r'^(W/)?"[\x21\x23-\x7e]{0,1000}"$'
_HTTP_DATE = r"^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$"


class Validators(BaseModel):
    """Validators of an upstream's response, for conditional requests (RFC 9110, 8.8)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: str | None = Field(default=None, max_length=64)
    """Digest of the final URL; the validators do not apply to another URL."""
    etag: str | None = Field(default=None, pattern=_ENTITY_TAG)
    last_modified: str | None = Field(default=None, pattern=_HTTP_DATE)

    def conditions(self, url: str) -> dict[str, str]:
        """Headers of a conditional request for a URL; none if the validators do not apply.

        The date is sent only without a tag, as servers ignore it beside one (RFC 9110, 13.1.3).
        """
        if self.place != digest(url):
            return {}
        if self.etag is not None:
            return {"If-None-Match": self.etag}
        return {} if self.last_modified is None else {"If-Modified-Since": self.last_modified}


class Provenance(BaseModel):
    """Record of a fetched original, stored beside it.

    It has the size and the modification time of the file, so that it does not apply to another
    file at the same path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    mtime_ns: int
    asked: float = Field(allow_inf_nan=False)
    """Time of the last fetch or revalidation, in seconds since the epoch."""
    gone: bool = False
    """Whether the upstream last answered that the original no longer exists."""
    checksum: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    """Checksum of the fetched bytes (`opening.checksum_of`); None if unknown."""
    validators: Validators = Validators()

    @classmethod
    def parse(cls, text: bytes) -> Self | None:
        """Parse a record; None if it is invalid."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    def is_about(self, size: int, mtime_ns: int) -> bool:
        """Whether it is the record of a file with this size (bytes) and modification time (ns)."""
        return (self.size, self.mtime_ns) == (size, mtime_ns)


def validators_of(url: str, headers: Mapping[str, str]) -> Validators:
    """Validators in the headers of a response, without malformed ones."""
    found = {
        name: value
        for name, header in (("etag", "etag"), ("last_modified", "last-modified"))
        if (value := headers.get(header)) is not None
    }
    try:
        return Validators(place=digest(url), **found)
    except ValidationError as error:
        for problem in error.errors():
            del found[str(problem["loc"][0])]
        return Validators(place=digest(url), **found)


def is_due(last_checked: float, now: float, refresh_after: float) -> bool:
    """Whether to revalidate with the upstream now; also true if the clock was set back."""
    return not 0 <= now - last_checked < refresh_after


def digest(text: str) -> str:
    """SHA-256 digest of a name or URL, 64 hexadecimal digits."""
    return sha256(text.encode()).hexdigest()
