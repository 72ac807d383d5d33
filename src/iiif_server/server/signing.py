"""Signed, expiring addresses of images (docs/security.md). Pure but for the clock it is given.

A signature is a segment of the path in front of the identifier:

    /iiif/3/signed/1767225600.5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e/specimens:1.jpg/info.json

Viewers make the URLs of tiles from the `id` in info.json, which repeats the path letter by letter:
so they need neither cookies nor headers, and need not know of signatures.
"""

import hmac
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import SecretStr, field_validator

from iiif_server.errors import SignatureRefusedError
from iiif_server.iiif.identifier import Identifier
from iiif_server.options import Listed, OptionsModel

SEGMENT = "signed"
"""The first segment of the path to a signed image, behind the version's prefix."""
MIN_KEY = 32
"""Characters of a key; fewer can be guessed."""

_CODE_BYTES = 24
"""Of HMAC-SHA256: 32 characters in base 64, without bits to spare that could have two values."""
_SIGNATURE = re.compile(r"([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{32})", re.ASCII)
BASE_URI = rf"{SEGMENT}/[0-9]+\.[A-Za-z0-9_-]{{32}}(?:/[^/]*){{0,4}}"
"""Paths that are too short for an image request behind a signature."""
_KEY = re.compile(rf"[!-~]{{{MIN_KEY},}}", re.ASCII)
_LABEL = "iiif-server signature 1"
_LOOKS_LIKE_ONE = re.compile(r"[0-9]{9,12}\.[A-Za-z0-9_.-]{32,}", re.ASCII)
"""Wherever it stands: also where a client has garbled the address around it."""


class SigningOptions(OptionsModel):
    """The keys of signed URLs, for types with `access = "signed"`."""

    keys: Annotated[tuple[SecretStr, ...], Listed] = ()
    """Secrets of at least 32 characters. The first one signs, all are accepted: to change a key,
    put the new one in front, and take the old one out when its last signature has expired."""

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            if not _KEY.fullmatch(key.get_secret_value()):
                raise ValueError(
                    f"each key needs at least {MIN_KEY} characters, all of them printable ASCII "
                    "without spaces"
                )
        return keys

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The keys themselves, for `Signatures` only."""
        return tuple(key.get_secret_value().encode() for key in self.keys)


@dataclass(frozen=True, slots=True)
class ExactRequest:
    """One image request, as narrow as a signature can be."""

    version: str
    """Of the Image API: the same size means different things in 2.1 and 3.0."""
    parameters: str
    """`region/size/rotation/quality.format`, decoded."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a signature that was accepted gives."""

    expires: int
    """In seconds since the epoch."""
    exact: bool
    """Whether it is for one request only, and not for all of an image."""


def split(written: str) -> tuple[str | None, str]:
    """The signature in front of an identifier as it stands in a URL, and the identifier.

    None where there is no place for a signature; one that is malformed is returned as it is.
    """
    first, slash, rest = written.partition("/")
    if first != SEGMENT or not slash:
        return None, written
    signature, _, identifier = rest.partition("/")
    return signature, identifier


def without_signatures(path: str) -> str:
    """A path that may be shown in a log: whatever looks like a signature is left out of it."""
    return _LOOKS_LIKE_ONE.sub("***", path)


class Signatures:
    """Makes and checks signatures."""

    def __init__(self, keys: Sequence[bytes], clock: Callable[[], float] = time.time) -> None:
        if not keys:
            raise ValueError("signatures need a key")
        self._keys = tuple(keys)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Signatures {len(self._keys)} keys>"

    def sign(self, identifier: Identifier, expires: int, exact: ExactRequest | None = None) -> str:
        """The path segments `signed/EXPIRES.CODE` that open an image, or one request for it."""
        return f"{SEGMENT}/{expires}.{_code(self._keys[0], identifier, expires, exact)}"

    def check(self, signature: str, identifier: Identifier, asked: ExactRequest | None) -> Grant:
        """What the signature gives to somebody who asks for this.

        Raises SignatureRefusedError, with the same words whatever is wrong.
        """
        match = _SIGNATURE.fullmatch(signature)
        if match is None:
            raise SignatureRefusedError
        expires, code = int(match[1]), match[2]
        # For the whole image, then for the one request: all are computed, whichever is right.
        scopes = (None,) if asked is None else (None, asked)
        accepted = [
            hmac.compare_digest(code, _code(key, identifier, expires, exact))
            for exact in scopes
            for key in self._keys
        ]
        if not any(accepted) or self._clock() >= expires:
            raise SignatureRefusedError
        return Grant(expires, exact=not any(accepted[: len(self._keys)]))

    def seconds_left(self, grant: Grant) -> int:
        """For how many whole seconds a grant holds; never less than none."""
        return max(0, int(grant.expires - self._clock()))


def _code(key: bytes, identifier: Identifier, expires: int, exact: ExactRequest | None) -> str:
    """The code of a signature: what is signed is the meaning, not the spelling, of an address.

    None of the lines can hold a line feed: neither grammar allows one.
    """
    scope = ("image",) if exact is None else ("request", exact.version, exact.parameters)
    message = "\n".join((_LABEL, str(expires), str(identifier), *scope))
    return urlsafe_b64encode(hmac.digest(key, message.encode(), "sha256")[:_CODE_BYTES]).decode()
