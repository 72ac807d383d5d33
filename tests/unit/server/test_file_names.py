"""File names of downloads: safe in a header field, and on every file system."""

from fractions import Fraction

import pytest

from iiif_server.errors import MalformedParameterError
from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import Rendition
from iiif_server.iiif.rotation import Rotation
from iiif_server.plan.original_format import EXTENSIONS, MEDIA_TYPES, OriginalFormat
from iiif_server.server.file_names import (
    content_disposition,
    file_name,
    name_of_image,
    name_of_original,
    wants_attachment,
)


def rendition(**changed: object) -> Rendition:
    plain: dict[str, object] = {
        "region": Box(0, 0, 200, 150),
        "size": Dimensions(100, 75),
        "rotation": Rotation(Fraction(0), mirror=False),
        "quality": Quality.DEFAULT,
        "format": Format.JPG,
    }
    return Rendition(**(plain | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "whole", "expected"),
    [
        ({}, True, "atlas_full_100x75.jpg"),
        ({"format": Format.WEBP}, True, "atlas_full_100x75.webp"),
        ({"region": Box(1, 2, 30, 40)}, False, "atlas_1,2,30,40_100x75.jpg"),
        ({"quality": Quality.GRAY}, True, "atlas_full_100x75_gray.jpg"),
        (
            {"rotation": Rotation(Fraction(45, 2), mirror=True)},
            True,
            "atlas_full_100x75_mirrored_22.5.jpg",
        ),
        (
            {"rotation": Rotation(Fraction(10**99 + 1, 10**100), mirror=False)},
            True,
            "atlas_full_100x75_0.1.jpg",
        ),
    ],
)
def test_the_name_of_an_image_says_what_it_is(
    changed: dict[str, object],
    whole: bool,  # noqa: FBT001
    expected: str,
) -> None:
    assert name_of_image("atlas.tif", rendition(**changed), whole=whole) == expected


@pytest.mark.parametrize("name", ["atlas.TGA", "atlas.dcm", "atlas.dng"])
def test_extensions_of_rare_formats_are_left_out(name: str) -> None:
    assert name_of_image(name, rendition(), whole=True) == "atlas_full_100x75.jpg"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("boxes/1/a.tif", "boxes_1_a.jpg"),
        ("../../etc/passwd", "etc_passwd.jpg"),
        (".htaccess", "htaccess.jpg"),
        ("-rf", "rf.jpg"),
        ("CON", "_CON.jpg"),
        ("lpt1.txt", "_lpt1.txt.jpg"),
        ("nul .x", "_nul .x.jpg"),
        ('a"; filename="b.exe', "a_filename=_b.exe.jpg"),
        ("a\\b:c*d?e<f>g|h", "a_b_c_d_e_f_g_h.jpg"),
        ("100%41", "100_41.jpg"),
        ("evil\u202egpj.exe", "evilgpj.exe.jpg"),
        ("a\u200bb\ufeffc", "abc.jpg"),
        ("a\u2028b\u00a0c", "a b c.jpg"),
        ("cafe\u0301", "caf\u00e9.jpg"),
        ("x. . .", "x.jpg"),
        ("///", "image.jpg"),
        ("\u202e", "image.jpg"),
    ],
)
def test_names_that_mean_harm(name: str, expected: str) -> None:
    assert file_name(name.removesuffix(".tif"), ".jpg") == expected


@pytest.mark.parametrize(
    ("name", "format_", "expected"),
    [
        ("a.tif", OriginalFormat.TIFF, "a.tif"),
        ("a.TIFF", OriginalFormat.TIFF, "a.tiff"),
        ("a", OriginalFormat.PNG, "a.png"),
        ("a.jpg", OriginalFormat.PNG, "a.png"),
        ("setup.exe", OriginalFormat.JPEG, "setup.exe.jpg"),
        ("page.html", OriginalFormat.GIF, "page.html.gif"),
        ("scan.tif;2", OriginalFormat.TIFF, "scan.tif_2.tif"),
    ],
)
def test_the_extension_of_an_original_is_that_of_its_format(
    name: str, format_: OriginalFormat, expected: str
) -> None:
    assert name_of_original(name, format_) == expected


def test_every_format_has_an_extension_and_a_media_type() -> None:
    assert set(EXTENSIONS) == set(MEDIA_TYPES) == set(OriginalFormat)


def test_a_name_outside_of_ascii_is_given_twice() -> None:
    assert content_disposition("Größe_日本.jpg", attachment=False) == (
        "inline; filename=\"Gro_e___.jpg\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe_%E6%97%A5%E6%9C%AC.jpg"
    )
    assert content_disposition("日本", attachment=True).startswith('attachment; filename="image__"')


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", False),
        (b"x=1", False),
        (b"download", True),
        (b"download=", True),
        (b"a=b&download=1", True),
        (b"download=true", True),
        (b"download=false", False),
        (b"download=0", False),
        (b"response-content-disposition=attachment", True),
        (b"response-content-disposition=inline", False),
        (b"response-content-disposition=Attachment%3B%20filename%3D%22x%0d%0ay%22", True),
        (b"response-content-disposition=attachment;filename*=utf-8''x", True),
        (b"download=0&response-content-disposition=attachment", False),
    ],
)
def test_queries_that_ask_for_a_download(query: bytes, expected: bool) -> None:  # noqa: FBT001
    assert wants_attachment(query) is expected


@pytest.mark.parametrize("value", [b"", b"form-data", b"%0d%0aSet-Cookie:a=b", b"\xff"])
def test_other_dispositions_are_refused(value: bytes) -> None:
    with pytest.raises(MalformedParameterError, match="attachment or inline"):
        wants_attachment(b"response-content-disposition=" + value)
