"""The token of those who run the server. Knows nothing of HTTP."""

import hmac
import re
from hashlib import sha256

from pydantic import SecretStr, field_validator

from iiif_server.options import OptionsModel

MIN_TOKEN = 16
"""Characters of a token; fewer can be guessed."""

_TOKEN = re.compile(rf"[!-~]{{{MIN_TOKEN},}}", re.ASCII)


def checked_token(token: SecretStr | None) -> SecretStr | None:
    """The token, if it is one that can be used; ValueError otherwise."""
    if token is not None and not _TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError(
            f"must have at least {MIN_TOKEN} characters, all of them printable ASCII without spaces"
        )
    return token


class AdminOptions(OptionsModel):
    """The doors for those who run the server."""

    token: SecretStr | None = None
    """Secret of at least 16 characters that opens `/admin/`; unset: there is no such address."""

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        return checked_token(token)


class Credentials:
    """Whether a token is the right one."""

    def __init__(self, token: SecretStr) -> None:
        self._digest = _digest(token.get_secret_value())

    def __repr__(self) -> str:
        return "<Credentials>"

    def match(self, given: str) -> bool:
        """Whether this is the token; the time it takes tells neither its length nor its letters."""
        return hmac.compare_digest(self._digest, _digest(given))


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
