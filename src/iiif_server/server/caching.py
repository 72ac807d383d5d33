"""`Cache-Control` as values; the text is written once, at the end. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caching:
    """For how long clients may cache an answer (RFC 9111, 5.2.2)."""

    seconds: int
    private: bool = False
    """Whether only the client itself may cache it, and no proxy."""
    immutable: bool = False
    """Whether clients need not ask again in that time, even on reload (RFC 8246)."""

    def __str__(self) -> str:
        private = "private, " if self.private else ""
        return f"{private}max-age={self.seconds}{', immutable' if self.immutable else ''}"


def strictest(parts: Iterable[Caching]) -> Caching:
    """The caching of an answer that is made of several parts, of which there is one at least."""
    given = tuple(parts)
    return Caching(
        min(part.seconds for part in given),
        private=any(part.private for part in given),
        immutable=all(part.immutable for part in given),
    )
