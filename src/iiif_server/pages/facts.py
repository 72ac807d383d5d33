"""Facts about an image for its viewer page, from its header and its info.json. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from iiif_server.plan.header import Colour, ImageHeader, Profile

_RIGHTS_NAMES = {
    "http://creativecommons.org/publicdomain/mark/1.0/": "Public Domain Mark 1.0",
    "http://creativecommons.org/publicdomain/zero/1.0/": "CC0 1.0",
    "http://rightsstatements.org/vocab/InC/1.0/": "In Copyright",
    "http://rightsstatements.org/vocab/NoC-US/1.0/": "No Copyright (United States)",
    "http://rightsstatements.org/vocab/NKC/1.0/": "No Known Copyright",
    "http://rightsstatements.org/vocab/CNE/1.0/": "Copyright Not Evaluated",
    "http://rightsstatements.org/vocab/UND/1.0/": "Copyright Undetermined",
} | {
    f"http://creativecommons.org/licenses/{kind}/4.0/": f"CC {kind.upper()} 4.0"
    for kind in ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
}
_LABELS = {
    "attribution": "Attribution",
    "partOf": "Part of",
    "seeAlso": "See also",
    "homepage": "Homepage",
    "logo": "Logo",
    "provider": "Provider",
}
"""Labels of properties of info.json."""
_COLOURS = {Colour.GRAY: "Gray", Colour.RGB: "Colour", Colour.OTHER: "CMYK or Lab"}
_FORMATS = {"JPEG2000": "JPEG 2000"}
_KILO = 1000


@dataclass(frozen=True, slots=True)
class LinkedText:
    """Text with an optional http or https link."""

    text: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of the table of facts."""

    label: str
    values: tuple[LinkedText, ...]


def facts(
    header: ImageHeader, size: int, modified: float, document: Mapping[str, Any]
) -> tuple[Fact, ...]:
    """Facts about an image: rights and credits first, then the original.

    `size` is the size of the original in bytes, `modified` its modification time in seconds since
    the epoch, and `document` the info.json in version 3.
    """
    return (*_credits(document), *_original(header, size, modified))


def _credits(document: Mapping[str, Any]) -> Iterator[Fact]:
    if isinstance(rights := document.get("rights"), str):
        yield Fact("Rights", (LinkedText(rights_name(rights), _web(rights)),))
    required = document.get("requiredStatement")
    if isinstance(required, Mapping):
        label = " ".join(word.text for word in _texts(required.get("label")))
        if values := tuple(_texts(required.get("value"))):
            yield Fact(label or "Credit", values)
    for name, label in _LABELS.items():
        if values := tuple(_texts(document.get(name))):
            yield Fact(label, values)


def _original(header: ImageHeader, size: int, modified: float) -> Iterator[Fact]:
    dimensions = header.dimensions
    pixels = f"{dimensions.width:,} \N{MULTIPLICATION SIGN} {dimensions.height:,} pixels"
    yield _fact("Dimensions", f"{pixels} ({megapixels(dimensions.area)})")
    format_ = _FORMATS.get(str(header.format), str(header.format))
    tiled = ", tiled" if header.tiles is not None else ""
    yield _fact("Original", f"{format_}{tiled}, {byte_text(size)}")
    if header.pages > 1:
        yield _fact("Pages", f"{header.pages:,}")
    profile = ", with a colour profile" if header.profile is Profile.OTHER else ""
    transparent = ", with transparency" if header.transparent else ""
    yield _fact("Colour", f"{_COLOURS[header.colour]}{profile}{transparent}")
    if header.jpeg is not None and header.jpeg.mcu is not None and header.jpeg.plain:
        yield _fact("Full resolution", "the original's own data, not compressed again")
    with suppress(ValueError, OverflowError, OSError):  # a year before 1 or after 9999
        changed = datetime.fromtimestamp(modified, UTC)
        yield _fact("File date", f"{changed.day} {changed:%B} {changed.year}")


def rights_name(uri: str) -> str:
    """Name of a licence or rights statement, or its URI if the name is unknown."""
    plain = uri.replace("https://", "http://", 1)
    return _RIGHTS_NAMES.get(plain if plain.endswith("/") else f"{plain}/", uri)


def byte_text(size: int) -> str:
    """Size in bytes as text, with a unit: `1.5 MB`."""
    if size < _KILO:
        return f"{size} bytes"
    for unit, bytes_ in (("kB", _KILO), ("MB", _KILO**2)):
        if round(size / bytes_, 1) < _KILO:
            return f"{size / bytes_:,.1f} {unit}"
    return f"{size / _KILO**3:,.1f} GB"


def megapixels(area: int) -> str:
    """Area in megapixels; below 100,000 pixels, in pixels."""
    return f"{area / 1e6:,.1f} megapixels" if area >= _KILO * 100 else f"{area:,} in all"


def _fact(label: str, text: str) -> Fact:
    return Fact(label, (LinkedText(text),))


def _texts(value: Any) -> Iterator[LinkedText]:
    """Texts and links in a property: a text, a list, an object or a language map."""
    if isinstance(value, str):
        yield LinkedText(value, _web(value))
    elif isinstance(value, Mapping):
        yield from _mapping_texts(value)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)


def _mapping_texts(value: Mapping[str, Any]) -> Iterator[LinkedText]:
    address = value.get("id", value.get("@id"))
    if isinstance(address, str):
        label = " ".join(word.text for word in _texts(value.get("label")))
        yield LinkedText(label or address, _web(address))
    elif value and all(isinstance(texts, list) for texts in value.values()):
        # A language map: English if available, else the first language.
        yield from _texts(value.get("en", next(iter(value.values()))))


def _web(address: str) -> str | None:
    """URL, if it is http or https; else None."""
    return address if address.startswith(("http://", "https://")) else None
