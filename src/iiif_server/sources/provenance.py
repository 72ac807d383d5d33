"""Provenance of fetched originals: HTTP validators, checksum, and when to revalidate. Pure."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_BYTES = 4096
"""The largest record; real ones are smaller."""
_ENTITY_TAG = r'^(W/)?"[\x21\x23-\x7e]{0,1000}"$'
_HTTP_DATE = r"^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$"


class Validators(BaseModel):
    """Validators of an upstream's response, for conditional requests (RFC 9110, 8.8)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: str | None = Field(default=None, max_length=64)
    """Digest of the final URL; validators of another URL do not apply."""
    etag: str | None = Field(default=None, pattern=_ENTITY_TAG)
    last_modified: str | None = Field(default=None, pattern=_HTTP_DATE)

    def conditions(self, url: str) -> dict[str, str]:
        """The headers of a conditional request for a URL; none if the validators do not apply.

        The date is ignored beside a tag (RFC 9110, 13.1.3), and is not sent then.
        """
        if self.place != digest(url):
            return {}
        if self.etag is not None:
            return {"If-None-Match": self.etag}
        return {} if self.last_modified is None else {"If-Modified-Since": self.last_modified}


class Provenance(BaseModel):
    """The record stored for a fetched original.

    It has the size and time of its file, so that it does not apply to another file that replaces
    it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    mtime_ns: int
    asked: float = Field(allow_inf_nan=False)
    """When it was last fetched or found unchanged, in seconds since the epoch."""
    gone: bool = False
    """Whether the upstream last answered that the original no longer exists."""
    checksum: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    """Checksum of the fetched bytes (`opening.checksum_of`); None: unknown."""
    validators: Validators = Validators()

    @classmethod
    def parse(cls, text: bytes) -> Self | None:
        """The record; None if it is invalid."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    def is_about(self, size: int, mtime_ns: int) -> bool:
        """Whether it was written about a file of this size and time."""
        return (self.size, self.mtime_ns) == (size, mtime_ns)


def validators_of(url: str, headers: Mapping[str, str]) -> Validators:
    """The validators in the headers of a response; malformed ones are left out."""
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


def is_due(asked: float, now: float, refresh_after: float) -> bool:
    """Whether to revalidate with the upstream; also true if the clock was put back."""
    return not 0 <= now - asked < refresh_after


def digest(text: str) -> str:
    """64 hexadecimal digits for a name or a URL."""
    return sha256(text.encode()).hexdigest()
