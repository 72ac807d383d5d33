"""File names of downloads, and `Content-Disposition` (RFC 6266). Pure."""

import re
import unicodedata
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, quote

from iiif_server.errors import MalformedParameterError
from iiif_server.iiif.request import Rendition
from iiif_server.plan.original_format import ALL_EXTENSIONS, EXTENSIONS, OriginalFormat

_MAX_BYTES = 200
"""Maximum bytes of a file name in UTF-8; file systems allow 255, encrypted ones fewer."""
_FORBIDDEN = frozenset('/\\:*?"<>|%;')
"""Characters that file systems or shells refuse, or that browsers misread (`%` and `;`)."""
_EDGES = ". -~_"
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)")
"""Names of devices on Windows, whatever extension follows."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,._-]*")
"""Names that are ASCII and safe already, as those of most tiles."""
_NO = frozenset({"0", "false", "no", "off"})


def file_name(stem: str, suffix: str) -> str:
    """File name that is valid on every system: no path, no device name, no invisible characters.

    `suffix` is appended unchanged. At most 200 bytes in UTF-8.
    """
    return _safe(stem, _MAX_BYTES - len(suffix.encode())) + suffix


def name_of_image(name: str, rendition: Rendition, *, whole: bool) -> str:
    """File name of an image: name of the original, region, size, and other parameters."""
    box, size, rotation = rendition.region, rendition.size, rendition.rotation
    region = "full" if whole else f"{box.x},{box.y},{box.width},{box.height}"
    parts = ["", region, f"{size.width}x{size.height}"]
    if rotation.mirror:
        parts.append("mirrored")
    if rotation.degrees:
        parts.append(f"{float(rotation.degrees):.5g}")
    if rendition.quality != "default":
        parts.append(rendition.quality)
    return file_name(_stem(name), f"{'_'.join(parts)}.{rendition.format}")


def name_of_original(name: str, format_: OriginalFormat) -> str:
    """File name of an original; a wrong extension is replaced by one of its format."""
    extension, stem = PurePosixPath(name).suffix.lower(), _stem(name)
    known = EXTENSIONS[format_]
    return file_name(stem, extension if extension in known else known[0])


def content_disposition(name: str, *, attachment: bool) -> str:
    """Value of `Content-Disposition`: the name in ASCII, and in UTF-8 if they differ."""
    kind = "attachment" if attachment else "inline"
    ascii_name = name if _PLAIN.fullmatch(name) else _ascii(name)
    value = f'{kind}; filename="{ascii_name}"'
    return value if ascii_name == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def wants_attachment(query: bytes) -> bool:
    """Whether a query requests a download: `download`, or `response-content-disposition`.

    The latter is the parameter of Cantaloupe; only its disposition type is read. Raises
    MalformedParameterError for other types than `attachment` and `inline`.
    """
    if not query:
        return False
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    if "download" in given:
        return given["download"].strip().lower() not in _NO
    value = given.get("response-content-disposition")
    if value is None:
        return False
    kind = value.partition(";")[0].strip().lower()
    if kind not in {"attachment", "inline"}:
        raise MalformedParameterError("response-content-disposition", kind, "attachment or inline")
    return kind == "attachment"


def _stem(name: str) -> str:
    """Name of an original without a known image extension."""
    path = PurePosixPath(name)
    known = path.suffix.lower() in ALL_EXTENSIONS
    return name[: -len(path.suffix)] if known and name.endswith(path.suffix) else name


@lru_cache(4096)  # viewers request many tiles of the same image
def _safe(text: str, max_bytes: int) -> str:
    safe = "".join(_allowed(character) for character in unicodedata.normalize("NFC", text))
    safe = re.sub(r"[_\s]*_[_\s]*", "_", safe).strip(_EDGES)
    safe = safe.encode()[:max_bytes].decode(errors="ignore").rstrip(_EDGES) or "image"
    return f"_{safe}" if _DEVICES.match(safe) else safe


def _allowed(character: str) -> str:
    if character in _FORBIDDEN:
        return "_"
    category = unicodedata.category(character)
    if category[0] == "Z":
        return " "
    # Control, format (invisible, or changing the text direction), private use, unassigned.
    return "" if category[0] == "C" else character


def _ascii(name: str) -> str:
    """Name with accents removed, and other characters outside ASCII replaced by `_`."""
    plain = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    text = "".join(c if " " <= c <= "~" and c not in _FORBIDDEN else "_" for c in plain)
    return text if re.search(r"[A-Za-z0-9]", text) else f"image{text}"
