"""Tokens of operators, without HTTP."""

import hmac
import re
from hashlib import sha256

from pydantic import SecretStr, field_validator

from iiif_server.options import OptionsModel

MIN_TOKEN = 16
"""Minimum characters of a token; shorter ones can be guessed."""

_TOKEN = re.compile(rf"[!-~]{{{MIN_TOKEN},}}", re.ASCII)


def checked_token(token: SecretStr | None) -> SecretStr | None:
    """Token, if it is long enough and printable ASCII without spaces; else ValueError."""
    if token is not None and not _TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError(
            f"must have at least {MIN_TOKEN} characters, all of them printable ASCII without spaces"
        )
    return token


class AdminOptions(OptionsModel):
    """Authentication for the admin API."""

    token: SecretStr | None = None
    """Token for `/admin/`, a secret of at least 16 characters; unset: there is no `/admin/`."""

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        return checked_token(token)


class Credentials:
    """Accepted token, stored as a digest."""

    def __init__(self, token: SecretStr) -> None:
        self._digest = _digest(token.get_secret_value())

    def __repr__(self) -> str:
        return "<Credentials>"

    def match(self, given: str) -> bool:
        """Whether a token is the accepted one; compared in constant time, whatever its length."""
        return hmac.compare_digest(self._digest, _digest(given))


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
