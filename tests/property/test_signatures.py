"""Signed URLs: a signature permits only its image, however the URL is encoded."""

import string
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from iiif_server.errors import IiifServerError, SignatureRefusedError
from iiif_server.iiif.identifier import Identifier, parse_identifier
from iiif_server.server.signing import ExactRequest, Grant, Signatures, split, without_signatures

NOW = 1_767_225_600
SIGNATURES = Signatures([b"a key of these tests, in 32 bytes"], lambda: NOW)

names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20
) | st.sampled_from(["a/b.jpg", "../a", "a//b", "%2e%2e/a", "signed/1.x/a", "a:b", "full/max"])
identifiers = st.builds(Identifier, st.sampled_from(["a", "A", "signed", "b-1"]), names)
parameters = st.sampled_from(
    ["full/max/0/default.jpg", "full/full/0/default.jpg", "0,0,10,10/max/0/gray.png"]
)
requests = st.builds(ExactRequest, st.sampled_from(["2.1", "3.0"]), parameters)


def permitted(
    sign_url: str, requested: ExactRequest | None = None
) -> tuple[Identifier, Grant] | None:
    """Return what a URL path permits; None if nothing."""
    signature, written = split(sign_url)
    if signature is None:
        return None
    try:
        identifier = parse_identifier(written, "a")
        return identifier, SIGNATURES.check(signature, identifier, requested)
    except IiifServerError:
        return None


def sign_url(identifier: Identifier, exact: ExactRequest | None = None) -> str:
    return f"{SIGNATURES.sign(identifier, NOW + 60, exact)}/{identifier.encoded}"


@given(identifiers, st.none() | requests)
def test_signed_url_permits_its_image(identifier: Identifier, exact: ExactRequest | None) -> None:
    found = permitted(sign_url(identifier, exact), exact)
    assert found == (identifier, Grant(NOW + 60, exact=exact is not None))


@given(identifiers, st.data())
def test_signed_url_with_a_changed_character_permits_nothing_else(
    identifier: Identifier, data: st.DataObject
) -> None:
    signed = sign_url(identifier)
    place = data.draw(st.integers(0, len(signed) - 1))
    characters = st.sampled_from(string.printable) | st.characters(codec="utf-8")
    change = data.draw(st.sampled_from(["replace", "insert", "remove", "double"]))
    new = {"replace": data.draw(characters), "insert": data.draw(characters) + signed[place]}
    new |= {"remove": "", "double": signed[place] * 2}
    changed = signed[:place] + new[change] + signed[place + 1 :]
    assume(changed != signed)
    found = permitted(changed)
    assert found is None or found == (identifier, Grant(NOW + 60, exact=False))
    if place < signed.index("/", len("signed/")):
        assert found is None


@given(identifiers, identifiers)
@example(Identifier("a", "b/c"), Identifier("a", "b%2Fc"))
def test_signature_of_an_image_permits_no_other(one: Identifier, other: Identifier) -> None:
    assume(one != other)
    signature = SIGNATURES.sign(one, NOW + 60)
    assert permitted(f"{signature}/{other.encoded}") is None
    assert permitted(f"{signature}/{other}") in {None, (one, Grant(NOW + 60, exact=False))}


@given(identifiers, st.data())
def test_percent_encoding_does_not_change_what_is_permitted(
    identifier: Identifier, data: st.DataObject
) -> None:
    text = str(identifier)
    written = "".join(
        quote(c, safe="") if data.draw(st.booleans()) or not c.isascii() or c == "%"
        else f"%{ord(c):02x}" if data.draw(st.booleans()) else c
        for c in text
    )  # fmt: skip
    signed = f"{SIGNATURES.sign(identifier, NOW + 60)}/{written}"
    assert permitted(signed) == (identifier, Grant(NOW + 60, exact=False))


@given(identifiers, requests, requests)
def test_signature_of_a_request_permits_no_other(
    identifier: Identifier, one: ExactRequest, other: ExactRequest
) -> None:
    assume(one != other)
    assert permitted(sign_url(identifier, one), other) is None
    assert permitted(sign_url(identifier, one), None) is None


@given(st.text() | st.from_regex(r"signed/[0-9.]{1,4}/.*", fullmatch=True), identifiers)
def test_invalid_signatures_are_refused_with_the_same_message(
    text: str, identifier: Identifier
) -> None:
    with pytest.raises(SignatureRefusedError) as refused:
        SIGNATURES.check(text, identifier, None)
    assert str(refused.value) == str(SignatureRefusedError())


@given(identifiers, st.text(max_size=20), st.text(max_size=20))
def test_signatures_are_removed_from_logged_urls(
    identifier: Identifier, before: str, after: str
) -> None:
    code = SIGNATURES.sign(identifier, NOW + 60).rpartition("/")[2]
    assert code.partition(".")[2] not in without_signatures(f"{before}{code}{after}")
