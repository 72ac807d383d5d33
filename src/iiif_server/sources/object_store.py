"""Object stores through obstore: S3 and compatible, Google Cloud Storage, Azure Blob Storage.

obstore starts threads of its own, so only server processes and commands import this module, when a
type needs it.
"""

import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import from_url

from iiif_server.errors import (
    ConfigurationError,
    IiifServerError,
    OriginalNotFoundError,
    SourceTimedOutError,
    SourceUnavailableError,
)
from iiif_server.plan.local_file import replaced
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.incoming import Body
from iiif_server.sources.provenance import Validators, validators_of
from iiif_server.sources.upstreams import Arrival, Start

_CHUNK = 1 << 18
_PAGE = 1000
"""Keys of one request for a listing."""
_ERRORS = (exceptions.BaseError, ValueError, OSError)
"""What obstore raises."""
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_STATUS = re.compile(r"status code: ([0-9]{3})")
_CONTAINER_MISSING = frozenset({"NoSuchBucket", "ContainerNotFound"})
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
    """What an object store answered, and what an operator can do; without secrets."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How a bucket is reached."""

    url: str
    """Scheme and bucket."""
    config: Mapping[str, Any] = field(repr=False)
    """The settings of obstore for this kind of store."""
    profile: str | None
    ca_file: Path | None
    connect_timeout: float
    total_timeout: float


def open_store(settings: StoreSettings, retries: int = 3) -> Any:
    """The store of a bucket; nothing is requested yet. Raises ConfigurationError."""
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
    except _ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"{settings.url} cannot be used: {reason}") from error


def _credentials(settings: StoreSettings) -> Any:
    """A provider of the credentials of an AWS profile, if there is one; else obstore finds them."""
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


@dataclass(frozen=True, slots=True)
class ObjectUpstream:
    """An object in a bucket, as an upstream."""

    store: Any = field(compare=False, repr=False)
    fetcher: Fetcher = field(compare=False, repr=False)
    bucket: str
    """Scheme and bucket, as a URL."""
    key: str

    @property
    def place(self) -> str:
        """The URL of the object."""
        return f"{self.bucket}/{self.key}"

    shown = place

    @property
    def host(self) -> str:
        """The bucket, which stands for the host in the limit on requests."""
        return self.bucket

    async def bring(self, target: Path, known: Validators) -> Arrival | None:
        """Fetch the object into a file, as `Upstream.bring` promises."""
        conditions = known.conditions(self.place)
        incoming = self.fetcher.incoming
        if not conditions:  # a conditional request often finds that nothing has changed
            await incoming.threads.run(incoming.check_space)
        async with self.fetcher.turn(self.host):
            try:
                found = await self._get(if_none_match=conditions.get("If-None-Match"))
            except exceptions.NotModifiedError:
                return None
            size, tag = found.meta["size"], found.meta["e_tag"]
            body = Body(
                _whole(_chunks(found), size),
                announced=size,
                validators=validators_of(self.place, {"etag": tag} if tag else {}),
            )
            return await incoming.receive(body, target)

    async def start(self, length: int) -> Start | None:
        """The first bytes, as `RangeUpstream.start` promises."""
        try:
            found = await self._get(range=(0, length))
        except exceptions.NotSupportedError:
            return None
        meta = found.meta
        tag = meta["e_tag"]
        if tag is None or not tag.startswith('"'):
            return None
        data = b"".join([chunk async for chunk in _chunks(found)])
        return Start(data, meta["size"], tag, int(meta["last_modified"].timestamp()))

    async def read(self, start: int, stop: int, tag: str) -> AsyncIterator[bytes]:
        """The bytes of a range, as `RangeUpstream.read` promises."""
        found = await self._get(range=(start, stop), if_match=tag)
        if found.meta["e_tag"] != tag:  # of a store that ignores If-Match
            raise replaced()
        async for chunk in _chunks(found):
            yield chunk

    async def _get(self, **options: Any) -> Any:
        chosen: Any = {name: value for name, value in options.items() if value is not None}
        try:
            return await obstore.get_async(self.store, self.key, options=chosen or None)
        except exceptions.NotModifiedError:
            raise
        except _ERRORS as error:
            if "range" in options and _is_about_ranges(error):
                raise exceptions.NotSupportedError from error
            raise refusal(error) from problem_of(error)


def listed(store: Any, prefix: str, after: str = "") -> Iterator[str]:
    """The keys below a prefix of whole segments, in the store's order, from one on; blocks.

    Raises SourceUnavailableError.
    """
    try:
        for page in obstore.list(store, prefix or None, offset=after or None, chunk_size=_PAGE):
            for item in page:
                yield item["path"]
    except _ERRORS as error:
        raise refusal(error) from problem_of(error)


def head(store: Any, key: str) -> None:
    """Look for an object; blocks. Raises as `ObjectUpstream.bring`."""
    try:
        obstore.get(store, key)  # and not `head`: an error without a body has no code
    except _ERRORS as error:
        raise refusal(error) from problem_of(error)


async def _chunks(found: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in found.stream(min_chunk_size=_CHUNK):
            yield bytes(chunk)
    except _ERRORS as error:
        raise refusal(error) from problem_of(error)


async def _whole(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        yield chunk
    if received != size:
        raise SourceUnavailableError("The object store sent less than the whole original.")


def _is_about_ranges(error: Exception) -> bool:
    return status_of(error) == "416" or "non-partial response" in str(error)


def status_of(error: Exception) -> str:
    """The HTTP status in an error of obstore; empty without one."""
    found = _STATUS.search(str(error))
    return found[1] if found else ""


def refusal(error: Exception) -> IiifServerError:
    """The error for a client; it names neither bucket nor key."""
    text = str(error)
    if isinstance(error, FileNotFoundError) and _code(text) not in _CONTAINER_MISSING:
        return OriginalNotFoundError("There is no image with this identifier.")
    if isinstance(error, ValueError):  # a key that no store takes
        return OriginalNotFoundError("There is no image with this identifier.")
    if isinstance(error, exceptions.PreconditionError):
        return replaced()
    if "timed out" in text or "kind: Timeout" in text:
        return SourceTimedOutError("The object store did not answer in time.")
    return SourceUnavailableError("The original cannot be read from its object store.")


def problem_of(error: Exception) -> StoreProblem:
    """What went wrong and what to do, for the log; without keys and signatures."""
    text = str(error)
    code, status = _code(text), status_of(error)
    advice = _ADVICE.get(code, "")
    if (not status and "redential" in text) or "metadata" in text.partition("\n")[0]:
        advice = "no credentials were found: set them in the environment, or anonymous = true"
    told = " ".join(part for part in (status, code) if part) or type(error).__name__
    if not status and not advice:
        first = text.partition("\n")[0].rpartition(" - ")[2]
        advice = first[:200]
    return StoreProblem(f"{told}: {advice}" if advice else told)


def _code(text: str) -> str:
    found = _CODE.search(text)
    return found[1] if found else ""
