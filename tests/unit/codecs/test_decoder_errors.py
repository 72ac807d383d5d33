"""Classification of decoder errors: the original or the machine."""

import errno

import pytest

from iiif_server.codecs.decoder_errors import translate_error
from iiif_server.errors import (
    DamagedOriginalError,
    IiifServerError,
    OriginalChangedError,
    OriginalTooLargeError,
    OutOfRoomError,
    SourceUnavailableError,
    TooMuchMemoryError,
)
from iiif_server.plan.original_format import OriginalFormat


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("image file is truncated (3 bytes not processed)"), DamagedOriginalError),
        (OSError("broken data stream when reading image file"), DamagedOriginalError),
        (SyntaxError("broken PNG file"), DamagedOriginalError),
        (IndexError("index out of range"), DamagedOriginalError),
        (EOFError(), DamagedOriginalError),
        (OverflowError("too large"), DamagedOriginalError),
        (RuntimeError("VipsJpeg: premature end of JPEG image"), DamagedOriginalError),
        (RuntimeError("tiff2vips: tile size out of range"), DamagedOriginalError),
        (RuntimeError('tiff2vips: Out of memory reading of "Compression"'), DamagedOriginalError),
        (RuntimeError("gifload: bad image dimensions\nOut of memory"), DamagedOriginalError),
        (RuntimeError("VipsJpeg: Too many scans, exceeded limit of 100"), OriginalTooLargeError),
        (
            RuntimeError("heif: Memory allocation error: Security limit exceeded: Image size"),
            OriginalTooLargeError,
        ),
        (MemoryError(), TooMuchMemoryError),
        (RuntimeError("vips_tracked: out of memory -- size == 900MB"), TooMuchMemoryError),
        (RuntimeError("VipsJpeg: Insufficient memory (case 4)"), TooMuchMemoryError),
        (RuntimeError("heif: Memory allocation error: Unspecified"), TooMuchMemoryError),
        (RuntimeError("unable to write: No space left on device"), OutOfRoomError),
        (RuntimeError("unix error: Cannot allocate memory"), TooMuchMemoryError),
        (RuntimeError("unable to open: Too many open files"), OutOfRoomError),
        (OSError("out of memory when reading image file"), TooMuchMemoryError),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), TooMuchMemoryError),
        (OSError(errno.ENOSPC, "No space left on device", "/secret/x"), OutOfRoomError),
        (OSError(errno.EIO, "Input/output error", "/secret/x"), SourceUnavailableError),
        (
            RuntimeError("source: read error\nunix error: Input/output error"),
            SourceUnavailableError,
        ),
    ],
)
def test_an_error_is_blamed_on_whom_it_concerns(
    error: Exception, told: type[IiifServerError]
) -> None:
    refused = translate_error(error, OriginalFormat.TIFF)
    assert type(refused) is told
    assert "secret" not in str(refused)


def test_an_error_of_ours_is_told_as_it_is() -> None:
    error = OriginalChangedError("The original has just been replaced; please try again.")
    assert translate_error(error, OriginalFormat.TIFF) is error
