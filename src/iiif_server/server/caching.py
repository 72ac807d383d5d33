"""`Cache-Control` of responses, as values that can be combined. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caching:
    """`Cache-Control` of a response (RFC 9111, 5.2.2); `str` gives the header value."""

    seconds: int
    private: bool = False
    """Whether only clients may cache the response, and no proxy."""
    immutable: bool = False
    """Whether clients need not revalidate in that time, even on reload (RFC 8246)."""

    def __str__(self) -> str:
        private = "private, " if self.private else ""
        return f"{private}max-age={self.seconds}{', immutable' if self.immutable else ''}"


def strictest(parts: Iterable[Caching]) -> Caching:
    """The caching of a response made of one or more parts: the strictest value of each."""
    given = tuple(parts)
    return Caching(
        min(part.seconds for part in given),
        private=any(part.private for part in given),
        immutable=all(part.immutable for part in given),
    )
