"""Identifiers: parsing inverts encoding, and other texts are refused."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from iiif_server.errors import MalformedIdentifierError, UnknownTypeError
from iiif_server.iiif.identifier import RESERVED_TYPES, TYPE_PATTERN, Identifier, parse_identifier

types = st.from_regex(re.compile(TYPE_PATTERN, re.ASCII), fullmatch=True).filter(
    lambda name: name.lower() not in RESERVED_TYPES
)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)
identifiers = st.builds(Identifier, types, names)

garbage = st.one_of(
    st.text(),
    st.text(alphabet="%0123456789abcdefABCDEF:/\x00\ud800\xff", max_size=40),
    st.binary(max_size=40).map(lambda data: "".join(f"%{byte:02x}" for byte in data)),
)


@given(identifiers)
@example(Identifier("x", "%2F"))
@example(Identifier("x", "a/../b?c#d"))
@example(Identifier("x", ":"))
def test_parsed_identifier_equals_the_encoded_one(identifier: Identifier) -> None:
    assert parse_identifier(identifier.encoded) == identifier


@given(identifiers)
def test_encoded_identifier_is_one_path_segment_in_ascii(identifier: Identifier) -> None:
    # to-encode = "/" / "?" / "#" / "[" / "]" / "@" / "%" and all outside US-ASCII -- 3.0, 9
    assert re.fullmatch(
        r"(?:[^/?#\[\]@%\x00-\x20\x7f-\U0010ffff]|%[0-9A-F]{2})+", identifier.encoded
    )


@given(identifiers)
def test_identifier_with_every_byte_escaped_is_the_same(identifier: Identifier) -> None:
    escaped = "".join(f"%{byte:02X}" for byte in str(identifier).encode())
    assert parse_identifier(escaped) == identifier


@given(garbage, st.none() | types)
def test_any_text_is_an_identifier_or_refused(text: str, default_type: str | None) -> None:
    try:
        identifier = parse_identifier(text, default_type)
    except MalformedIdentifierError:
        return
    except UnknownTypeError:
        assert default_type is None
        return
    assert identifier.name
    assert parse_identifier(identifier.encoded) == identifier
