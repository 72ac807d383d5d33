"""Signed URLs of images, with an expiry time (docs/security.md). Pure, except for the clock.

A signature is two path segments before the identifier:

    /iiif/3/signed/1767225600.5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e/specimens:1.jpg/info.json

Viewers make the URLs of tiles from the `id` in info.json, which repeats the path exactly. So they
need neither cookies nor header fields, and no support for signatures.
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
"""First path segment of a signed URL, after the path of the version."""
MIN_KEY = 32
"""Minimum characters of a key; shorter ones can be guessed."""

_CODE_BYTES = 24
"""Bytes of HMAC-SHA256 in a code: exactly 32 characters in base 64, with only one spelling."""
_SIGNATURE = re.compile(r"([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{32})", re.ASCII)
BASE_URI = rf"{SEGMENT}/[0-9]+\.[A-Za-z0-9_-]{{32}}(?:/[^/]*){{0,4}}"
"""Regular expression of a signed path that is too short for an image request: a base URI."""
_KEY = re.compile(rf"[!-~]{{{MIN_KEY},}}", re.ASCII)
_LABEL = "iiif-server signature 1"
_LOOKS_LIKE_ONE = re.compile(r"[0-9]{9,12}\.[A-Za-z0-9_.-]{32,}", re.ASCII)
"""Text that looks like a signature anywhere in a path, also in a malformed URL."""


class SigningOptions(OptionsModel):
    """Keys of signed URLs, for types with `access = "signed"`."""

    keys: Annotated[tuple[SecretStr, ...], Listed] = ()
    """Secrets of at least 32 characters. The first key signs, all keys are accepted. To change a
    key, put the new one first, and remove the old one when its last signature has expired."""

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
        """Keys as bytes, for `Signatures` only."""
        return tuple(key.get_secret_value().encode() for key in self.keys)


@dataclass(frozen=True, slots=True)
class ExactRequest:
    """One image request, for a signature that is valid for no other request."""

    version: str
    """Version of the Image API, as the same size means different things in 2.1 and 3.0."""
    parameters: str
    """`region/size/rotation/quality.format`, decoded."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Validity of an accepted signature."""

    expires: int
    """Expiry time in seconds since the epoch."""
    exact: bool
    """Whether the signature is valid for one request only, and not for the whole image."""


def split(raw_identifier: str) -> tuple[str | None, str]:
    """Split the part of a URL with an identifier into signature and identifier.

    The signature is None if there is none; it may be malformed.
    """
    first, slash, rest = raw_identifier.partition("/")
    if first != SEGMENT or not slash:
        return None, raw_identifier
    signature, _, identifier = rest.partition("/")
    return signature, identifier


def without_signatures(path: str) -> str:
    """Path for logs: everything that looks like a signature is replaced by `***`."""
    return _LOOKS_LIKE_ONE.sub("***", path)


class Signatures:
    """Creates and checks signatures."""

    def __init__(self, keys: Sequence[bytes], clock: Callable[[], float] = time.time) -> None:
        if not keys:
            raise ValueError("signatures need a key")
        self._keys = tuple(keys)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Signatures {len(self._keys)} keys>"

    def sign(self, identifier: Identifier, expires: int, exact: ExactRequest | None = None) -> str:
        """Path segments `signed/EXPIRES.CODE` for an image, or for one exact request.

        `expires` is in seconds since the epoch.
        """
        return f"{SEGMENT}/{expires}.{_code(self._keys[0], identifier, expires, exact)}"

    def check(
        self, signature: str, identifier: Identifier, requested: ExactRequest | None
    ) -> Grant:
        """Grant of a signature for a request; `requested` is None for image information.

        Raises SignatureRefusedError, with the same message for every reason.
        """
        match = _SIGNATURE.fullmatch(signature)
        if match is None:
            raise SignatureRefusedError
        expires, code = int(match[1]), match[2]
        # For the whole image, then for the exact request. All are compared: constant time.
        scopes = (None,) if requested is None else (None, requested)
        accepted = [
            hmac.compare_digest(code, _code(key, identifier, expires, exact))
            for exact in scopes
            for key in self._keys
        ]
        if not any(accepted) or self._clock() >= expires:
            raise SignatureRefusedError
        return Grant(expires, exact=not any(accepted[: len(self._keys)]))

    def seconds_left(self, grant: Grant) -> int:
        """Whole seconds until a grant expires; at least 0."""
        return max(0, int(grant.expires - self._clock()))


def _code(key: bytes, identifier: Identifier, expires: int, exact: ExactRequest | None) -> str:
    """Code of a signature, for the parsed identifier and request, not for their spelling.

    No field can contain a line feed: the grammars of identifiers and parameters exclude it.
    """
    scope = ("image",) if exact is None else ("request", exact.version, exact.parameters)
    message = "\n".join((_LABEL, str(expires), str(identifier), *scope))
    return urlsafe_b64encode(hmac.digest(key, message.encode(), "sha256")[:_CODE_BYTES]).decode()
