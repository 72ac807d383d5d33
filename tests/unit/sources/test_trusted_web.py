"""Names that are URLs, and the URLs that a type trusts."""

import re
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from pydantic import ValidationError

from iiif_server.errors import UntrustedUrlError
from iiif_server.sources.trusted_web import Trust, TrustedWebOptions, compile_regex, decode_url

URL = "https://raw.githubusercontent.com/NaturalHistoryMuseum/tests/test.jpg"
NAME = (
    "aHR0cHM6Ly9yYXcuZ2l0aHVidXNlcmNvbnRlbnQuY29tL05hdHVyYWxIaXN0b3J5TXVzZXVtL3Rlc3RzL3Rlc3QuanBn"
)
TRUSTED = compile_regex(r"https://example\.org/open/.+")


def test_a_name_is_a_url_in_base_64() -> None:
    assert decode_url(NAME) == URL


def is_trusted(url: str, pattern: Any) -> bool:
    return Trust(pattern.pattern).includes(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a",
        "https://example.org/ab",
        "https://example.org/abc",
        "https://example.org/caf\xe9",
        "https://example.org/?>~?>~?>~",
        "https://example.org/\U0001f41d\U0001f98b",
    ],
)
def test_a_name_may_be_padded_or_not(url: str) -> None:
    padded = urlsafe_b64encode(url.encode()).decode("ascii")
    assert decode_url(padded) == url
    assert decode_url(padded.rstrip("=")) == url


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "abcde",
        "https://example.org/a",
        "aHR0cHM6Ly9l eGFtcGxl",
        "aHR0cHM6Ly9l\n",
        "aHR0\u00e9",
        "aHR0cHM6=Ly9l",
        "_w",
        "7aCA",
        "*",
        "\ud800",
    ],
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(UntrustedUrlError):
        decode_url(name)


@pytest.mark.parametrize("name", ["aHR0cDovL2V4YW1wbGUub3JnLz8/Pz8/", "aHR0cDovL2V4Lz4+Pj4+"])
def test_a_name_in_the_alphabet_that_is_not_url_safe_is_refused(name: str) -> None:
    with pytest.raises(UntrustedUrlError):
        decode_url(name)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/open/a.jpg",
        "https://example.org/open/a/b.jpg",
        "https://example.org/open/a..b/...jpg",
        "https://example.org/open/a?x=../..",
        "https://example.org/open/%20a",
    ],
)
def test_a_url_that_matches_in_full_is_trusted(url: str) -> None:
    assert is_trusted(url, TRUSTED)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.org/open/",
        "https://example.org/closed/a.jpg",
        "http://example.org/open/a.jpg",
        "https://example.org.evil.org/open/a.jpg",
        "https://evil.org/https://example.org/open/a.jpg",
        " https://example.org/open/a.jpg",
        "https://example.org/open/a.jpg\n",
        "https://example.org/open/a b.jpg",
        "https://example.org/open/a\tb.jpg",
        "https://example.org/open/a\x00b.jpg",
        "https://example.org/open/a\u2028b.jpg",
        "https://example.org/open/..\\closed",
        "https://example.org\\@evil.org/open/a",
        # dot segments, written plainly or encoded
        "https://example.org/open/../closed/a.jpg",
        "https://example.org/open/./a.jpg",
        "https://example.org/open/a/..",
        "https://example.org/open/%2e%2e/closed/a.jpg",
        "https://example.org/open/%2E./closed/a.jpg",
        "https://example.org/open/x%2f..%2f..%2fclosed",
        "https://example.org/open/%252e%252e/closed/a.jpg",
        "https://example.org/open/%25252e./closed/a.jpg",
        "https://example.org/open/..%5cclosed",
        "https://example.org/open/%" + "25" * 9 + "41",
        "https://example.org/open/..?x",
        "https://example.org/open/..#x",
        # servers that take what is behind a semicolon for parameters of a segment
        "https://example.org/open/..;/closed/a.jpg",
        "https://example.org/open/..%3bx=1/closed/a.jpg",
        "https://example.org/open/a%00.jpg",
    ],
)
def test_a_url_that_does_not_match_or_climbs_is_not_trusted(url: str) -> None:
    assert not is_trusted(url, TRUSTED)


@pytest.mark.parametrize(
    "url",
    [
        "https://user@example.org/a",
        "https://user:word@example.org/a",
        "https://example.org:80@evil.org/a",
        "https://example.org%2f@evil.org/a",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "//example.org/a",
        "/a",
        "https://[::1",
        "https://example.org:port/a",
        "https://exa mple.org/a",
    ],
)
def test_a_url_that_means_another_place_is_not_trusted_whatever_the_expression(url: str) -> None:
    assert not is_trusted(url, re.compile(r".*", re.DOTALL))


def test_a_url_must_match_as_it_would_be_asked_for() -> None:
    only_capitals = re.compile(r"https://EXAMPLE\.org/.+")
    assert not is_trusted("https://EXAMPLE.org/a", only_capitals)


# --- regular expressions in linear time -----------------------------------------------------

BACKTRACKING = [
    r"http://(a+)+",
    r"http://(a|a)*",
    r"http://(a|aa)+",
    r"http://(.*a){20}",
    r"http://([a-z]+)*/x",
    r"(http://)?(a?){30}a{30}",
    r"http://(\w+\.?)+/x",
    r"http://(?:a*)*(?:a*)*b",
]
"""Each takes Python's own engine longer than anybody waits."""


@pytest.mark.parametrize("regex", BACKTRACKING)
def test_no_expression_takes_longer_than_the_url_is_long(regex: str) -> None:
    """With an engine that backtracks this test does not end."""
    pattern = compile_regex(regex)
    for length in (25, 40, 4000):
        assert not is_trusted("http://" + length * "a" + "!", pattern)


@pytest.mark.parametrize(
    ("regex", "url"),
    [
        (r"https://example\.org/.+", "https://example.org/a"),
        (r"^https://example\.org/.+$", "https://example.org/a"),
        (r"\Ahttps://(?P<host>[a-z.]+)/\w{1,3}\.(?:jpe?g|png)", "https://example.org/abc.jpg"),
        (r"(?i)HTTPS://EXAMPLE\.ORG/.+", "https://example.org/a"),
        (r"https?://[^/?#]+/[^?]*(\?.*)?", "http://example.org/a?b=c"),
        ("https://example\\.org/\u00fc.*", "https://example.org/\u00fc"),
    ],
)
def test_expressions_as_people_write_them_are_matched(regex: str, url: str) -> None:
    pattern = compile_regex(regex)
    assert pattern.fullmatch(url)
    assert not pattern.fullmatch(url.replace("://", ":/elsewhere"))


@pytest.mark.parametrize(
    "regex",
    [
        r"https://(?!evil)\w+/.*",
        r"(?=https)https://.*",
        r"(?<=x)https://.*",
        r"https://(\w+)/\1",
        r"https://(?P<a>\w+)/(?P=a)",
        r"https://example\.org/.*\Z",
        r"https://(?>a+)/.*",
        r"https://a++/.*",
        r"https://a{1,5000}/.*",
    ],
)
def test_an_expression_that_needs_backtracking_is_refused_with_the_reason(regex: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        TrustedWebOptions(source="trusted_web", regex=regex)
    assert "linear time" in str(refusal.value)
    assert "(?!...)" in str(refusal.value)


@pytest.mark.parametrize(
    "regex", ["(", "[a", "*", "(?P<1>a)", r"\Qa.b\E", r"\pL", "a{99999999999}"]
)
def test_what_is_no_expression_in_python_is_refused(regex: str) -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        TrustedWebOptions(source="trusted_web", regex=regex)


# --- prefixes ----------------------------------------------------------------------------------


PREFIXES = ["https://Example.org:443/open/", "http://other.org/"]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/open/a.jpg",
        "https://example.org/open/a.jpg?x=y",
        "https://EXAMPLE.org:443/open/a",
        "http://other.org/a",
    ],
)
def test_a_url_with_a_prefix_is_trusted(url: str) -> None:
    assert Trust(None, PREFIXES).includes(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/closed/a.jpg",
        "https://example.org/open",
        "https://example.org:444/open/a",
        "http://example.org/open/a",
        "https://other.org/a",
        "http://other.org.evil.org/a",
        "http://other.org@evil.org/a",
        "http://u@other.org/a",
        "https://example.org/open/../closed",
        "https://example.org/open/%2e%2e%2fclosed",
        "https://example.org/open/%252e%252e%252fclosed",
        "https://example.org/open\\a",
        "https://example.org/OPEN/a",
    ],
)
def test_any_other_url_is_not(url: str) -> None:
    assert not Trust(None, PREFIXES).includes(url)


@pytest.mark.parametrize(
    "prefix",
    [
        "https://example.org",
        "example.org/",
        "ftp://example.org/",
        "https://u:p@example.org/",
        "https://example.org/?a=",
        "https://example.org/#a",
        "https://example.org/a/../",
        "https:///a",
        "https://example.org/a b/",
        "",
    ],
)
def test_a_prefix_that_is_no_whole_host_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError, match="prefix is a URL"):
        TrustedWebOptions(source="trusted_web", prefixes=(prefix,))


def test_a_type_that_trusts_nobody_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs prefixes or regex"):
        TrustedWebOptions(source="trusted_web")
