"""IPTC-IIM 4.2: datasets of record 2 that responses may contain. Pure."""

_RECORD = b"\x1c\x02"
_EXTENDED = 0x8000
"""Bit that marks an extended dataset, whose length has more than two bytes. Not supported."""
_MAX_DATASETS = 500
_UTF8 = b"\x1c\x01\x5a\x00\x03\x1b%G"
_NAMES = {
    5: "objectName", 25: "keywords", 40: "specialInstructions", 55: "dateCreated", 80: "byline",
    85: "bylineTitle", 105: "headline", 110: "credit", 115: "source", 116: "copyrightNotice",
    120: "caption", 122: "captionWriter",
}  # fmt: skip
_LOCATION_NAMES = {
    90: "city", 92: "sublocation", 95: "provinceState", 100: "countryCode", 101: "countryName",
}  # fmt: skip


def iptc_properties(data: bytes, *, location: bool) -> dict[str, list[str]]:
    """Return the values of known datasets, by name.

    With `location`, also those of places. A damaged dataset ends the list.
    """
    names = _NAMES | (_LOCATION_NAMES if location else {})
    encoding = "utf-8" if _UTF8 in data else "latin-1"
    found: dict[str, list[str]] = {}
    position = 0
    for _ in range(_MAX_DATASETS):
        if position + 5 > len(data) or data[position] != _RECORD[0]:
            break
        length = int.from_bytes(data[position + 3 : position + 5])
        if length & _EXTENDED:
            break
        value = data[position + 5 : position + 5 + length]
        if (
            data[position : position + 2] == _RECORD
            and data[position + 2] in names
            and len(value) == length
        ):
            found.setdefault(names[data[position + 2]], []).append(
                value.decode(encoding, "replace")
            )
        position += 5 + length
    return found
