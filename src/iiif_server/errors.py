"""What the server can refuse, and why. No HTTP status here: `routes.problems` has the one table.

Every message is a sentence for the person who made the request. It names what they sent and what
would work; it never holds a path, the URL of an upstream, or the text of a foreign exception.
"""

from typing import Self


class IiifServerError(Exception):
    """The root of every refusal; its text may be shown to anyone."""


# --- the request itself ---------------------------------------------------------------------


class RequestRefusedError(IiifServerError):
    """The request can never be answered as it stands, whatever the image."""


class MalformedIdentifierError(RequestRefusedError):
    """The identifier is not `type:name` in valid percent-encoding."""


class MalformedParameterError(RequestRefusedError):
    """A region, size, rotation, quality or format outside the grammar of the specification."""

    def __init__(self, parameter: str, value: str, expected: str) -> None:
        super().__init__(f"Invalid {parameter} {shown(value)}: expected {expected}.")
        self.parameter = parameter


class UnsupportedFormatError(RequestRefusedError):
    """A format that is well formed, but that this server does not make."""


class OutOfBoundsError(RequestRefusedError):
    """A region wholly outside the image, or of no extent."""


class SizeRefusedError(RequestRefusedError):
    """A size that upscales without `^`, has no pixels, or exceeds the published limits."""


class UntrustedHostError(RequestRefusedError):
    """A Host header that is no host."""


class TargetTooLongError(RequestRefusedError):
    """The address of the request is longer than any that means something here."""


class HeadersTooLargeError(RequestRefusedError):
    """The request has more header fields, or longer ones, than are read."""


class TooManyImagesError(RequestRefusedError):
    """A manifest of more images than one may have."""


class ContentRefusedError(RequestRefusedError):
    """The request carries content, which no request to this server does."""


class UnlistedTypeError(RequestRefusedError):
    """A purge of all originals of a type that cannot tell what originals it has."""


class ImageTooLargeError(RequestRefusedError):
    """Making the image would take more memory than there is for all of them."""

    def __init__(self, text: str, needed: int = 0) -> None:
        super().__init__(text)
        self.needed = needed
        """Bytes that it would take, as estimated."""


class NotAcceptableError(IiifServerError):
    """The Accept header rules out everything that there is."""


# --- who may ask ----------------------------------------------------------------------------


class UnauthenticatedError(IiifServerError):
    """The request does not show that it comes from those who run the server."""


class SignatureRefusedError(IiifServerError):
    """The image needs a signed URL, and this one has no signature that is valid now.

    One sentence for every reason, and for images that do not exist: the difference would be worth
    knowing to those who have no signature.
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
    """The original is not offered for download: its type does not, or its own limits forbid it."""


class NotFoundError(IiifServerError):
    """There is nothing under this identifier."""


class UnknownTypeError(NotFoundError):
    """The identifier has no type, or one that is not configured."""


class OriginalNotFoundError(NotFoundError):
    """The source has no original of this name."""


class PageNotFoundError(NotFoundError):
    """The original has fewer pages."""

    @classmethod
    def of(cls, page: int, count: int) -> Self:
        """The error for a page beyond the last."""
        there = "one page" if count == 1 else f"{count:,} pages"
        return cls(f"This original has {there}; there is no page {page:,}.")


class OutsideFolderError(OriginalNotFoundError):
    """The name leads out of the folder of its type, by a link; clients are not told."""

    def __init__(self, detail: str, path: str | None = None) -> None:
        super().__init__("There is no image with this identifier.")
        self.detail = detail
        """Where it leads, for the log."""
        self.path = path
        """The path of the link, or of a file below it, for the log."""


class FolderNotFoundError(NotFoundError):
    """No folder of this name is shown, whether there is one or not."""

    def __init__(
        self,
        message: str = "There is no folder of images with this name that is open to everyone.",
    ) -> None:
        super().__init__(message)


class UntrustedUrlError(RequestRefusedError):
    """A `trusted_web` name whose URL the type does not trust."""


class SourceUnavailableError(IiifServerError):
    """The upstream server of the original failed, or sent something else than promised."""


class SourceTimedOutError(SourceUnavailableError):
    """The upstream server of the original did not answer in time."""


class SourceBusyError(SourceUnavailableError):
    """Too many originals are being fetched: this one's turn did not come in time."""


class NoSpaceForOriginalError(SourceUnavailableError):
    """The original cannot be fetched: too little disk space is free. It may be later."""


# --- the original itself --------------------------------------------------------------------


class OriginalRefusedError(IiifServerError):
    """The original exists, but no image can be made of it."""


class UnsupportedOriginalError(OriginalRefusedError):
    """No image, or an image of a format or sample type that this server does not read."""


class NotAnImageError(UnsupportedOriginalError):
    """A file that is no image of a known format, such as a text beside the images."""


class DamagedOriginalError(OriginalRefusedError):
    """An image of a known format whose data is truncated or corrupt."""


class OriginalTooLargeError(OriginalRefusedError):
    """More pixels, bytes, frames, scans or the like than this server reads."""


class OriginalChangedError(IiifServerError):
    """The original was replaced while an image was being made of it; asking again will do."""


# --- making the image -----------------------------------------------------------------------


class RenderFailedError(IiifServerError):
    """The image could not be made, through no fault that was found in the request."""


class RenderTimedOutError(RenderFailedError):
    """The image took longer than `render_timeout` to make."""


class NotKeptError(RenderFailedError):
    """What has to be kept to be of use could not be: the disk is full, or refuses."""

    def __init__(self, message: str, refusal: OSError | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal
        """What the disk said, if it has not been told yet; for the operator."""


class TooMuchMemoryError(RenderFailedError):
    """Making the image takes more memory than one worker is given."""


def too_much_memory() -> TooMuchMemoryError:
    """The refusal for lack of memory: each worker is given so much, now and later."""
    return TooMuchMemoryError(
        "Making this image takes more memory than the server gives to one; "
        "ask for a smaller one, or a part of it."
    )


class PartsMissingError(RenderFailedError):
    """A decoder would need bytes of the original that were not brought, as it was not to run."""


class OutOfRoomError(RenderFailedError):
    """The machine has not the memory or the disk for the image now; it may have later."""


class WorkerDiedError(RenderFailedError):
    """The process that was making the image died, and so did the one that tried again."""


class WorkerFailedError(RenderFailedError):
    """A job raised what no job is expected to raise; `reason` names it, for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__("The image could not be made.")
        self.reason = reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason!r})"


# --- not now --------------------------------------------------------------------------------


class NotNowError(IiifServerError):
    """What may well be answered later; nothing was found wrong with the request."""

    def __init__(self, message: str, retry_after: int = 10) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """In how many seconds asking again may help."""


class SharedCacheUnavailableError(NotNowError):
    """The bucket of the shared cache did not do what has to be done there."""

    def __init__(self, message: str = "", reason: str = "") -> None:
        super().__init__(message or "The shared cache does not answer; the server's log says why.")
        self.reason = reason
        """What its store has answered; for the operator."""


class BusyError(NotNowError):
    """So much expensive work is waiting that no more of it is taken on."""


class QueueTimedOutError(NotNowError):
    """No worker became free within `queue_timeout`."""


class StorageTimedOutError(NotNowError):
    """A disk or network mount did not answer within its deadline; others are not affected."""


class TooManyOpenFilesError(NotNowError):
    """The process, or the machine, has no file descriptor or memory left to open a file."""


class QuarantinedError(NotNowError):
    """Workers died over this original, or were killed for their deadline, a short while ago."""


# --- running the server ---------------------------------------------------------------------


class ConfigurationError(IiifServerError):
    """A setting that cannot be; its text is for the operator."""


class NotBundledError(IiifServerError):
    """A page that needs scripts which this installation was built without."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"This installation was built without {package}, which this page needs. In a checkout, "
            "`make assets` fetches it; `pip install .` and wheels contain it."
        )


class ClientDisconnectedError(OSError):
    """The client has closed its connection: nothing more can be sent (ASGI 2.4)."""


class ResponseIncompleteError(Exception):
    """A body ends before its announced length; the connection is closed, so that clients notice.

    No refusal: the status has been sent.
    """


_SHOWN_CHARACTERS = 80


def shown(value: str) -> str:
    """The value in quotes, on one line, no longer than a person would read."""
    cut = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
    return '"' + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut) + '"'
