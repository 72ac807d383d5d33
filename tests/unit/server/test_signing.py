"""Signatures: scope, expiry, and the examples of the documentation."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable

import pytest

from iiif_server.errors import SignatureRefusedError
from iiif_server.iiif.identifier import Identifier
from iiif_server.server.signing import (
    ExactRequest,
    Signatures,
    SigningOptions,
    split,
    without_signatures,
)

KEY = b"a key of these tests, in 32 bytes"
OTHER_KEY = b"another key of these tests, as long"
IMAGE = Identifier("specimens", "a/1.jpg")
THUMBNAIL = ExactRequest("3.0", "full/!400,400/0/default.jpg")
NOW = 1_767_225_600


def at(seconds: float) -> Callable[[], float]:
    return lambda: seconds


def signature(*keys: bytes, exact: ExactRequest | None = None, expires: int = NOW + 60) -> str:
    signed = Signatures(keys or (KEY,), at(NOW)).sign(IMAGE, expires, exact)
    found, rest = split(f"{signed}/rest")
    assert rest == "rest"
    assert found is not None
    return found


@pytest.mark.parametrize("asked", [None, THUMBNAIL, ExactRequest("2.1", "full/full/0/gray.png")])
def test_a_signature_of_an_image_opens_all_that_is_asked_of_it(asked: ExactRequest | None) -> None:
    grant = Signatures([KEY], at(NOW)).check(signature(), IMAGE, asked)
    assert (grant.expires, grant.exact) == (NOW + 60, False)


def test_a_signature_of_one_request_opens_that_one_only() -> None:
    signatures, one = Signatures([KEY], at(NOW)), signature(exact=THUMBNAIL)
    assert signatures.check(one, IMAGE, THUMBNAIL).exact
    for other in (
        None,
        ExactRequest("2.1", THUMBNAIL.parameters),
        ExactRequest("3.0", "full/!401,400/0/default.jpg"),
        ExactRequest("3.0", "full/max/0/default.jpg"),
    ):
        with pytest.raises(SignatureRefusedError):
            signatures.check(one, IMAGE, other)


@pytest.mark.parametrize(("seconds", "open_"), [(0, True), (59.9, True), (60, False), (1e6, False)])
def test_a_signature_opens_until_it_expires(seconds: float, open_: bool) -> None:  # noqa: FBT001
    signatures = Signatures([KEY], at(NOW + seconds))
    if open_:
        grant = signatures.check(signature(), IMAGE, None)
        assert signatures.seconds_left(grant) == int(60 - seconds)
    else:
        with pytest.raises(SignatureRefusedError):
            signatures.check(signature(), IMAGE, None)


def test_what_is_left_is_never_less_than_nothing() -> None:
    grant = Signatures([KEY], at(NOW)).check(signature(), IMAGE, None)
    assert Signatures([KEY], at(NOW + 1000)).seconds_left(grant) == 0


@pytest.mark.parametrize(
    "keys", [(KEY, OTHER_KEY), (OTHER_KEY, KEY)], ids=["still first", "already second"]
)
def test_keys_are_changed_without_an_address_that_stops_working(keys: tuple[bytes, ...]) -> None:
    for exact in (None, THUMBNAIL):
        grant = Signatures(keys, at(NOW)).check(signature(KEY, exact=exact), IMAGE, exact)
        assert grant.expires == NOW + 60
    assert signature(*keys) == signature(keys[0])


def test_a_key_that_was_taken_out_opens_nothing() -> None:
    with pytest.raises(SignatureRefusedError):
        Signatures([OTHER_KEY], at(NOW)).check(signature(KEY), IMAGE, None)


@pytest.mark.parametrize(
    "image",
    [
        Identifier("specimens", "a/2.jpg"),
        Identifier("specimens", "A/1.jpg"),
        Identifier("specimens", "a//1.jpg"),
        Identifier("specimens", "a/1.jpg/"),
        Identifier("specimens", "a/1.jpg/../2.jpg"),
        Identifier("specimens", "./a/1.jpg"),
        Identifier("specimens", "a%2F1.jpg"),
        Identifier("specimens", "a/1.jpg "),
        Identifier("Specimens", "a/1.jpg"),
        Identifier("other", "a/1.jpg"),
    ],
    ids=str,
)
def test_a_signature_opens_no_other_image(image: Identifier) -> None:
    with pytest.raises(SignatureRefusedError):
        Signatures([KEY], at(NOW)).check(signature(), image, None)


VALID = signature()
CODE = VALID.partition(".")[2]


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        ".",
        CODE,
        f".{CODE}",
        f"0{VALID}",
        f"+{VALID}",
        f" {VALID}",
        f"{VALID} ",
        f"{VALID}=",
        f"{VALID}\n",
        f"{VALID}.",
        VALID[:-1],
        f"{VALID}A",
        VALID.replace(".", "%2E"),
        VALID.replace(".", "/"),
        f"-1.{CODE}",
        f"1e12.{CODE}",
        f"9999999999999.{CODE}",
        f"\N{ARABIC-INDIC DIGIT ONE}767225660.{CODE}",
        f"{NOW + 60}.{'é' * 32}",
        f"{NOW + 61}.{CODE}",
        f"{NOW + 60}.{CODE.swapcase()}",
        f"{NOW + 60}.{'A' * 32}",
    ],
)
def test_what_is_no_signature_opens_nothing_and_is_told_from_nothing_else(malformed: str) -> None:
    signatures = Signatures([KEY], at(NOW))
    with pytest.raises(SignatureRefusedError) as refused:
        signatures.check(malformed, IMAGE, None)
    with pytest.raises(SignatureRefusedError) as expired:
        Signatures([KEY], at(NOW + 60)).check(VALID, IMAGE, None)
    assert str(refused.value) == str(expired.value) == str(SignatureRefusedError())


def test_a_code_is_what_the_documentation_says() -> None:
    def code(*lines: str) -> str:
        digest = hmac.new(KEY, "\n".join(lines).encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest[:24]).decode()

    head = ("iiif-server signature 1", f"{NOW + 60}", "specimens:a/1.jpg")
    assert signature() == f"{NOW + 60}.{code(*head, 'image')}"
    assert signature(exact=THUMBNAIL).partition(".")[2] == code(
        *head, "request", "3.0", "full/!400,400/0/default.jpg"
    )


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("specimens:1.jpg", (None, "specimens:1.jpg")),
        ("signed/1.a/specimens:1.jpg", ("1.a", "specimens:1.jpg")),
        ("signed/1.a/specimens:a/1.jpg", ("1.a", "specimens:a/1.jpg")),
        ("signed//specimens:1.jpg", ("", "specimens:1.jpg")),
        ("signed/1.a", ("1.a", "")),
        ("signed/", ("", "")),
        ("signed", (None, "signed")),
        ("signed:1.jpg", (None, "signed:1.jpg")),
        ("Signed/1.a/x", (None, "Signed/1.a/x")),
        ("%73igned/1.a/x", (None, "%73igned/1.a/x")),
        ("signed%2F1.a/x", (None, "signed%2F1.a/x")),
        ("/signed/1.a/x", (None, "/signed/1.a/x")),
    ],
)
def test_a_signature_stands_in_one_place_only(written: str, parts: tuple[str | None, str]) -> None:
    assert split(written) == parts


@pytest.mark.parametrize("exact", [None, THUMBNAIL])
def test_a_signature_is_not_shown(exact: ExactRequest | None) -> None:
    code = signature(exact=exact)
    for path in (
        f"/signed/{code}/specimens:a/1.jpg/info.json",
        f"/iiif/2/signed/{code}/specimens:1.jpg",
        f"/x//signed//{code}",
        f"/{code}",
        f"/SIGNED%2F{code}%2Fx",
        f"/signed/{code}=/x",
        f"/signed/{code}{code}",
    ):
        shown = without_signatures(path)
        assert code.partition(".")[2] not in shown
        assert "***" in shown


@pytest.mark.parametrize(
    "path", ["/specimens:1.jpg/info.json", "/signed/a.jpg", "/x:2025.photographs-of-last-summer"]
)
def test_other_paths_are_shown_as_they_are(path: str) -> None:
    assert without_signatures(path) == path


def test_keys_come_as_a_list_or_between_commas() -> None:
    one, two = "k" * 32, "l" * 40
    for keys in ([one, two], f"{one}, {two}", f'["{one}", "{two}"]'):
        options = SigningOptions.model_validate({"keys": keys})
        assert options.secrets == (one.encode(), two.encode())
        for shown in (repr(options), str(options), options.model_dump_json()):
            assert one not in shown


def test_there_is_no_signing_without_a_key() -> None:
    with pytest.raises(ValueError, match="need a key"):
        Signatures([])


def test_keys_do_not_show_in_a_representation() -> None:
    assert "test" not in repr(Signatures([KEY]))
