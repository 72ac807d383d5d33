"""Files that are provably complete, though their length was not announced."""

import io

import pytest
from PIL import Image

from iiif_server.plan.original_format import SIGNATURE_BYTES, OriginalFormat, recognise
from iiif_server.sources.incoming import END_BYTES, is_provably_complete

TELLING = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "JPEG2000", "PDF"]


def encoded(format_: str) -> bytes:
    """A small image in a format."""
    file = io.BytesIO()
    image = Image.radial_gradient("L").convert("RGB")
    image.save(file, format_)
    return file.getvalue()


def whole(data: bytes) -> bool:
    """What the two ends of the data say."""
    format_ = recognise(data[:SIGNATURE_BYTES])
    assert format_ is not None
    return is_provably_complete(format_, data[:SIGNATURE_BYTES], data[-END_BYTES:], len(data))


@pytest.mark.parametrize("format_", TELLING)
def test_a_whole_file_is(format_: str) -> None:
    assert whole(encoded(format_))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF"])
@pytest.mark.parametrize("padding", [b"\0" * 7, b"\r\n", b"\n", b" "])
def test_so_it_is_with_padding(format_: str, padding: bytes) -> None:
    assert whole(encoded(format_) + padding)


@pytest.mark.parametrize("format_", TELLING)
@pytest.mark.parametrize("missing", [1, 2, 12, 100, "half"])
def test_a_file_without_its_end_is_not(format_: str, missing: int | str) -> None:
    data = encoded(format_)
    cut = data[: -missing if isinstance(missing, int) else len(data) // 2]
    assert not whole(cut)


@pytest.mark.parametrize("format_", ["TIFF", "AVIF"])
def test_a_format_that_does_not_tell_is_not(format_: str) -> None:
    assert not whole(encoded(format_))


def test_a_bitmap_that_does_not_say_its_size_is_not() -> None:
    data = bytearray(encoded("BMP"))
    data[2:6] = bytes(4)
    assert not whole(bytes(data))


@pytest.mark.parametrize("format_", list(OriginalFormat))
def test_nothing_is_not(format_: OriginalFormat) -> None:
    assert not is_provably_complete(format_, b"", b"", 0)
