"""Object stores through obstore: S3 and compatible, Google Cloud Storage, Azure Blob Storage.

obstore starts its own threads. So only server processes and commands import this module, when a
bucket is configured.
"""

import atexit
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from obstore import exceptions
from obstore.store import from_url

from iiif_server.errors import ConfigurationError

_LAST_SECONDS = 0.2
# A thread of obstore that returns the result of its last request aborts the process if the
# interpreter ends meanwhile (github.com/PyO3/pyo3-async-runtimes/issues/40).
atexit.register(time.sleep, _LAST_SECONDS)

ERRORS = (exceptions.BaseError, NotImplementedError, ValueError, OSError)
"""Exceptions of obstore."""
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_STATUS = re.compile(r"status code: ([0-9]{3})")
CONTAINER_MISSING = frozenset({"NoSuchBucket", "ContainerNotFound"})
_ADVICE: Mapping[str, str] = {
    "InvalidAccessKeyId": "the store does not know the access key: correct it, where it is set",
    "SignatureDoesNotMatch": "the secret access key is not that of the access key: correct it",
    "AuthenticationFailed": "the account key or token is wrong: correct it, where it is set",
    "ExpiredToken": "the session token has expired: renew the credentials",
    "InvalidToken": "the session token is invalid: renew the credentials",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: correct it",
    "PermanentRedirect": "the bucket is in another region: set region",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set region",
    "AccessDenied": "permission to read objects is missing (s3:GetObject); or the object does not "
    "exist, which stores answer with 404 only if listing is permitted (s3:ListBucket)",
    "NoSuchBucket": "the bucket does not exist at this endpoint: correct url or endpoint",
    "ContainerNotFound": "the container does not exist in this account: correct url or account",
}


class StoreProblem(Exception):  # noqa: N818 - the cause of an error, for the log
    """Problem of an object store: its error and advice for the operator, without secrets."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings of the client for one bucket; timeouts are in seconds."""

    url: str
    """URL of the bucket: scheme and name."""
    config: Mapping[str, Any] = field(repr=False)
    """Settings of obstore for this kind of store."""
    profile: str | None
    ca_file: Path | None
    connect_timeout: float
    total_timeout: float


def open_store(settings: StoreSettings, retries: int = 3) -> Any:
    """Open the store of a bucket, without a request. Raises ConfigurationError."""
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=settings.connect_timeout),
        "read_timeout": timedelta(seconds=settings.connect_timeout),
        "timeout": timedelta(seconds=settings.total_timeout),
        "allow_http": str(settings.config.get("endpoint", "")).startswith("http://"),
    }
    try:
        if settings.ca_file is not None:
            client["root_certificate"] = settings.ca_file.read_bytes()
        return from_url(  # type: ignore[call-overload]
            settings.url,
            config=settings.config,
            client_options=client,
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=settings.total_timeout),
            },
            credential_provider=_credentials(settings),
        )
    except ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"{settings.url} cannot be used: {reason}") from error


def _credentials(settings: StoreSettings) -> Any:
    """Credential provider for an AWS profile; None without a profile: obstore finds credentials.

    Raises ConfigurationError.
    """
    named = settings.profile
    if not settings.url.startswith("s3:") or "access_key_id" in settings.config:
        return None
    if named is None and not os.environ.get("AWS_PROFILE"):
        return None
    try:
        import boto3.session  # noqa: PLC0415 - only where profiles are used
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415
    except ImportError as error:
        if named is None:
            return None
        raise ConfigurationError(
            f"the AWS profile {named} needs boto3: pip install boto3"
        ) from error
    try:
        return Boto3CredentialProvider(boto3.session.Session(profile_name=named))
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"the AWS profile cannot be used: {error}") from error


def status_of(error: Exception) -> str:
    """HTTP status in an error of obstore; empty without one."""
    found = _STATUS.search(str(error))
    return found[1] if found else ""


def problem_of(error: Exception) -> StoreProblem:
    """Problem and advice for an error of obstore, for the log; without keys and signatures."""
    text = str(error)
    code, status = code_of(text), status_of(error)
    advice = _ADVICE.get(code, "")
    if (not status and "redential" in text) or "metadata" in text.partition("\n")[0]:
        advice = "no credentials were found: set them in the environment, or anonymous = true"
    summary = " ".join(part for part in (status, code) if part) or type(error).__name__
    if not status and not advice:
        first = text.partition("\n")[0].rpartition(" - ")[2]
        advice = first[:200]
    return StoreProblem(f"{summary}: {advice}" if advice else summary)


def code_of(text: str) -> str:
    """Error code in the XML of a response; empty without one."""
    found = _CODE.search(text)
    return found[1] if found else ""
