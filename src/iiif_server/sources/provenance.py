"""What is known of where a kept original came from, and when to ask there again. Pure."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_BYTES = 4096
"""More than a record ever takes."""
_ENTITY_TAG = r'^(W/)?"[\x21\x23-\x7e]{0,1000}"$'
_HTTP_DATE = r"^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$"


class Validators(BaseModel):
    """What an upstream wants to be told to say whether an original has changed (RFC 9110, 8.8)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: str | None = Field(default=None, max_length=64)
    """The digest of the URL that it came from in the end: another URL's validators say nothing."""
    etag: str | None = Field(default=None, pattern=_ENTITY_TAG)
    last_modified: str | None = Field(default=None, pattern=_HTTP_DATE)

    def conditions(self, url: str) -> dict[str, str]:
        """The headers of a conditional request for a URL; none where they would say nothing.

        The date counts for nothing beside a tag (RFC 9110, 13.1.3), and is not sent then.
        """
        if self.place != digest(url):
            return {}
        if self.etag is not None:
            return {"If-None-Match": self.etag}
        return {} if self.last_modified is None else {"If-Modified-Since": self.last_modified}


class Provenance(BaseModel):
    """The record that is kept beside an original.

    It names the file that it is about, so it cannot be taken for the record of another one that
    has the same place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    mtime_ns: int
    asked: float = Field(allow_inf_nan=False)
    """When it was last fetched or found unchanged, in seconds since the epoch."""
    gone: bool = False
    """Whether the upstream's last word was that there is no such original any more."""
    checksum: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    """What the bytes that came had, as `opening.checksum_of` computes it; None: not known."""
    validators: Validators = Validators()

    @classmethod
    def read(cls, text: bytes, size: int, mtime_ns: int) -> Self | None:
        """The record, if it is one and about the file of this size and time."""
        record = cls.parse(text)
        return record if record is not None and record.is_about(size, mtime_ns) else None

    @classmethod
    def parse(cls, text: bytes) -> Self | None:
        """The record, if it is one, whichever file it is about."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    def is_about(self, size: int, mtime_ns: int) -> bool:
        """Whether it was written about a file of this size and time."""
        return (self.size, self.mtime_ns) == (size, mtime_ns)


def validators_of(url: str, headers: Mapping[str, str]) -> Validators:
    """The validators in the headers of a URL's answer; what is not well-formed is not there."""
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
    """Whether the upstream is to be asked again; so it is where the clock has been put back."""
    return not 0 <= now - asked < refresh_after


def digest(text: str) -> str:
    """64 hexadecimal digits for a name or a URL."""
    return sha256(text.encode()).hexdigest()
