"""IPTC-IIM 4.2: datasets of record 2 that responses may contain. Pure."""

_RECORD = b"\x1c\x02"
_LONG = 0x8000
"""Bit that marks an extended dataset, whose length has more than two bytes. Not supported."""
_MAX_DATASETS = 500
_UTF8 = b"\x1c\x01\x5a\x00\x03\x1b%G"
_SHOWN = {
    5: "objectName", 25: "keywords", 40: "specialInstructions", 55: "dateCreated", 80: "byline",
    85: "bylineTitle", 105: "headline", 110: "credit", 115: "source", 116: "copyrightNotice",
    120: "caption", 122: "captionWriter",
}  # fmt: skip
_LOCATION = {
    90: "city", 92: "sublocation", 95: "provinceState", 100: "countryCode", 101: "countryName",
}  # fmt: skip


def iptc_properties(data: bytes, *, location: bool) -> dict[str, list[str]]:
    """Return the values of known datasets, by name.

    With `location`, also those that say where something is. What is damaged ends the datasets.
    """
    names = _SHOWN | (_LOCATION if location else {})
    encoding = "utf-8" if _UTF8 in data else "latin-1"
    found: dict[str, list[str]] = {}
    at = 0
    for _ in range(_MAX_DATASETS):
        if at + 5 > len(data) or data[at] != _RECORD[0]:
            break
        length = int.from_bytes(data[at + 3 : at + 5])
        if length & _LONG:
            break
        value = data[at + 5 : at + 5 + length]
        if data[at : at + 2] == _RECORD and data[at + 2] in names and len(value) == length:
            found.setdefault(names[data[at + 2]], []).append(value.decode(encoding, "replace"))
        at += 5 + length
    return found
