"""Exceptions of the server, without HTTP status: `server.problems` has the table of those.

Every message is a sentence for the client. It names what the client sent and what would work. It
never contains a path, the URL of an upstream, or the text of another library's exception.
"""

from typing import Self


class IiifServerError(Exception):
    """Base class of all errors that the server raises; clients may see its text."""


# --- the request itself ---------------------------------------------------------------------


class RequestRefusedError(IiifServerError):
    """The request is invalid, whatever the image."""


class MalformedIdentifierError(RequestRefusedError):
    """The identifier is not `type:name` in valid percent-encoding."""


class MalformedParameterError(RequestRefusedError):
    """A region, size, rotation, quality or format does not match the grammar of the Image API."""

    def __init__(self, parameter: str, value: str, expected: str) -> None:
        super().__init__(f"Invalid {parameter} {shown(value)}: expected {expected}.")
        self.parameter = parameter


class UnsupportedFormatError(RequestRefusedError):
    """The format of the request is well formed, but this server does not write it."""


class OutOfBoundsError(RequestRefusedError):
    """The region is entirely outside the image, or has no pixels (Image API 3.0, 4.1)."""


class SizeRefusedError(RequestRefusedError):
    """The size upscales without `^`, has no pixels, or exceeds the limits in info.json."""


class UntrustedHostError(RequestRefusedError):
    """The Host header is missing, repeated or invalid."""


class TargetTooLongError(RequestRefusedError):
    """The URL of the request is longer than any valid URL of this server."""


class HeadersTooLargeError(RequestRefusedError):
    """The request has too many header fields, or too many bytes of them."""


class TooManyImagesError(RequestRefusedError):
    """A manifest or an archive would have more images than its limit."""


class ContentRefusedError(RequestRefusedError):
    """The request has content, which this server does not accept."""


class UnlistedTypeError(RequestRefusedError):
    """The originals of a type cannot be purged, because its source cannot list them."""


class ImageTooLargeError(RequestRefusedError):
    """Rendering the image would take more memory than all images together may use."""

    def __init__(self, text: str, needed: int = 0) -> None:
        super().__init__(text)
        self.needed = needed
        """Estimated memory in bytes."""


class NotAcceptableError(IiifServerError):
    """The Accept header excludes every available media type."""


# --- authentication -------------------------------------------------------------------------


class UnauthenticatedError(IiifServerError):
    """The request has no valid token of an operator."""


class SignatureRefusedError(IiifServerError):
    """The image needs a signed URL, and this URL has no valid signature.

    The message is the same for every reason, and for images that do not exist. So a client without
    a signature cannot find out which images exist.
    """

    def __init__(
        self,
        message: str = (
            "Not found, or the signed URL has expired: ask whoever gave you the URL for a new one."
        ),
    ) -> None:
        super().__init__(message)


# --- finding the original -------------------------------------------------------------------


class DownloadRefusedError(IiifServerError):
    """Downloads of the original are not allowed, by its type or by its own limits."""


class NotFoundError(IiifServerError):
    """No image exists for this identifier."""


class UnknownTypeError(NotFoundError):
    """The identifier has no type, or a type that is not configured."""


class OriginalNotFoundError(NotFoundError):
    """The source has no original with this name."""

    def __init__(self, message: str = "There is no image with this identifier.") -> None:
        super().__init__(message)


class PageNotFoundError(NotFoundError):
    """The original has fewer pages than the number of the requested page."""

    @classmethod
    def of(cls, page: int, count: int) -> Self:
        """Return the error for page `page` of an original with `count` pages."""
        there = "one page" if count == 1 else f"{count:,} pages"
        return cls(f"This original has {there}; there is no page {page:,}.")


class OutsideFolderError(OriginalNotFoundError):
    """The name leads out of the folder of its type through a link; clients only get a 404."""

    def __init__(self, detail: str, path: str | None = None) -> None:
        super().__init__()
        self.detail = detail
        """Target of the link, for the log."""
        self.path = path
        """Path of the link, or of a file below it, for the log."""


class FolderNotFoundError(NotFoundError):
    """No folder with this name is listed, whether it exists or not."""

    def __init__(
        self,
        message: str = "There is no folder of images with this name that is open to everyone.",
    ) -> None:
        super().__init__(message)


class UntrustedUrlError(RequestRefusedError):
    """The URL in a `trusted_web` identifier is not one that its type trusts."""


class SourceUnavailableError(IiifServerError):
    """The upstream or the disk of the original failed, or the upstream sent invalid data."""


class SourceTimedOutError(SourceUnavailableError):
    """The upstream did not respond within its timeout."""


class SourceBusyError(SourceUnavailableError):
    """Too many originals are being fetched: no slot became free in time."""


class NoSpaceForOriginalError(SourceUnavailableError):
    """The original cannot be fetched now: too little disk space is free."""


# --- the original itself --------------------------------------------------------------------


class OriginalRefusedError(IiifServerError):
    """The original exists, but cannot be decoded."""


class UnsupportedOriginalError(OriginalRefusedError):
    """The original has a format or sample type that this server does not read."""


class NotAnImageError(UnsupportedOriginalError):
    """The file is not an image of a known format, as a text file beside the images."""


class DamagedOriginalError(OriginalRefusedError):
    """The original has a known format, but its data is truncated or corrupt."""


class OriginalTooLargeError(OriginalRefusedError):
    """The original exceeds a limit: pixels, bytes, frames, scans and others."""


class OriginalChangedError(IiifServerError):
    """The original was replaced while the server read it; the client should retry."""


# --- rendering ------------------------------------------------------------------------------


class RenderFailedError(IiifServerError):
    """The image could not be rendered, although the request is valid."""


class RenderTimedOutError(RenderFailedError):
    """Rendering took longer than its timeout (`render_timeout`)."""


class OriginalTooComplexError(RenderFailedError):
    """Decoding the original exceeds a limit of processor time or memory."""


class NotKeptError(RenderFailedError):
    """A pyramid or derivative could not be stored: the disk is full, or writing failed."""

    def __init__(self, message: str, disk_error: OSError | None = None) -> None:
        super().__init__(message)
        self.disk_error = disk_error
        """Error of the write, if it has not been reported to the store yet; for the log."""


class TooMuchMemoryError(RenderFailedError):
    """Rendering takes more memory than one worker may use."""


def too_much_memory() -> TooMuchMemoryError:
    """Return the error for an image that exceeds the memory limit of a worker."""
    return TooMuchMemoryError(
        "Making this image takes more memory than the server gives to one; "
        "ask for a smaller one, or a part of it."
    )


class PartsMissingError(RenderFailedError):
    """The decoder needs bytes of a partly fetched original that were not fetched."""


class OutOfRoomError(RenderFailedError):
    """The server has too little disk space, or no free file descriptor, for the image now."""


class WorkerDiedError(RenderFailedError):
    """The worker that rendered the image died, and so did the worker of the retry."""


class WorkerFailedError(RenderFailedError):
    """A job raised an unexpected exception; `reason` names it, for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__("The image could not be rendered.")
        self.reason = reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason!r})"


# --- retry later ----------------------------------------------------------------------------


class NotNowError(IiifServerError):
    """The server cannot answer the request now; the client should retry later."""

    def __init__(self, message: str, retry_after: int = 10) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which the client should retry (`Retry-After`)."""


class SharedCacheUnavailableError(NotNowError):
    """The bucket of the shared cache failed where the operation cannot go on without it."""

    def __init__(self, message: str = "", reason: str = "") -> None:
        super().__init__(message or "The shared cache does not answer; the server's log says why.")
        self.reason = reason
        """Error of the object store, for the log."""


class BusyError(NotNowError):
    """The queue of a kind of work is full, or all its slots are in use."""


class QueueTimedOutError(NotNowError):
    """No worker became free within `queue_timeout`."""


class StorageTimedOutError(NotNowError):
    """A disk or network mount did not respond within its timeout."""


class TooManyOpenFilesError(NotNowError):
    """The process or the machine has no file descriptor or memory left to open a file."""


class QuarantinedError(NotNowError):
    """The original is in quarantine, because a worker died or exceeded its timeout."""


# --- running the server ---------------------------------------------------------------------


class ConfigurationError(IiifServerError):
    """Settings cannot be used; the text is for the operator."""


class NotBundledError(IiifServerError):
    """The page needs scripts that are missing in this installation."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"This installation was built without {package}, which this page needs. In a checkout, "
            "`make assets` fetches it; `pip install .` and wheels contain it."
        )


class ClientDisconnectedError(OSError):
    """The client has closed its connection, so that nothing can be sent (ASGI 2.4)."""


class ResponseIncompleteError(Exception):
    """A body ended before it was complete; the server closes the connection.

    This is not an `IiifServerError`, because the status has been sent already.
    """


_SHOWN_CHARACTERS = 80


def shown(value: str) -> str:
    """Return the value in quotes, on one line, cut after 80 characters."""
    cut = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
    return '"' + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut) + '"'
