"""IPTC: only known datasets are returned."""

import pytest

from iiif_server.formats.iptc import iptc_properties


def dataset(number: int, value: bytes, record: int = 2) -> bytes:
    return bytes([0x1C, record, number]) + len(value).to_bytes(2) + value


UTF8 = dataset(90, b"\x1b%G", record=1)


def test_known_datasets_are_read_and_no_location() -> None:
    data = (
        UTF8 + dataset(80, "Größe".encode()) + dataset(25, b"a") + dataset(25, b"b")
        + dataset(90, b"Oslo") + dataset(200, b"x")
    )  # fmt: skip
    shown = {"byline": ["Größe"], "keywords": ["a", "b"]}
    assert iptc_properties(data, location=False) == shown
    assert iptc_properties(data, location=True) == shown | {"city": ["Oslo"]}


def test_without_a_character_set_it_is_latin() -> None:
    assert iptc_properties(dataset(80, b"\xe9"), location=False) == {"byline": ["é"]}


@pytest.mark.parametrize(
    "rest", [b"", b"\x1c", b"\x1c\x02P\xff\xff", b"\x1c\x02P\x00\x09x", b"xxxxxxxx", b"\0" * 99]
)
def test_what_is_damaged_ends_the_datasets(rest: bytes) -> None:
    assert iptc_properties(dataset(116, b"c") + rest, location=True) == {"copyrightNotice": ["c"]}
