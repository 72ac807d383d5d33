import pytest

from iiif_server.errors import NotAcceptableError
from iiif_server.iiif.versions import V2, V3
from iiif_server.server.negotiation import accept_of, negotiate, prefers_page

LD = "application/ld+json"
PROFILE_2 = f'{LD};profile="http://iiif.io/api/image/2/context.json"'
PROFILE_3 = f'{LD};profile="http://iiif.io/api/image/3/context.json"'


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        (",", "application/json"),
        (" ,\t, ", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        (LD, PROFILE_3),
        (f"{LD};q=0.5, application/json", "application/json"),
        (f"{LD}, application/json;q=0.9", PROFILE_3),
        (f"{LD}, */*;q=0.1", PROFILE_3),
        (PROFILE_3, PROFILE_3),
        (PROFILE_2, PROFILE_2),
        (f"{PROFILE_2}, {PROFILE_3};q=0.5", PROFILE_2),
        (f"{PROFILE_2};q=0.5, {PROFILE_3}", PROFILE_3),
        (f"{PROFILE_2};q=0.5, application/json;q=0.9", "application/json"),
        # A profile that is neither: JSON-LD was wanted all the same.
        (f'{LD};profile="http://iiif.io/api/image/9/context.json"', PROFILE_3),
        ("application/json;q=nonsense, application/ld+json", PROFILE_3),
    ],
)
def test_info_json_representation_follows_the_accept_header(
    accept: str | None, media_type: str
) -> None:
    assert negotiate(accept, (V3, V2)).media_type == media_type


def test_version_of_the_path_is_not_negotiable() -> None:
    assert negotiate(PROFILE_3, (V2,)).version is V2
    assert negotiate(PROFILE_2, (V3,)).version is V3


@pytest.mark.parametrize(
    "accept", ["image/png", "text/html", "application/json;q=0", "text/*, image/*;q=0.5"]
)
def test_accept_that_rules_out_json_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="application/ld\\+json"):
        negotiate(accept, (V3, V2))


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", True),
        ("text/html, application/json", False),
        ("text/html;q=0.9, application/json", False),
        ("text/html, application/json;q=0.9", True),
        ("application/json, text/html;q=0.5", False),
        ("application/ld+json, text/html;q=0.9", False),
        ("text/html, */*", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense, */*;q=0.1", False),
        ("image/avif,image/webp,*/*;q=0.8", False),
    ],
)
def test_only_those_who_prefer_a_page_get_one(*, accept: str | None, page: bool) -> None:
    assert prefers_page(accept) is page


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (f'{LD};profile="a, b;c", application/json;q=0.5', PROFILE_3),
        (f'{LD};x="\\",application/json;q=1";q=0.2, application/json;q=0.3', "application/json"),
        (f'{LD};profile="http://iiif.io/api/image/\\2/context.json"', PROFILE_2),
        (f'{LD};PROFILE="http://iiif.io/api/image/2/context.json"', PROFILE_2),
        (f'{LD};profile="http://iiif.io/api/image/2/context.json', PROFILE_2),
        (f"{LD};q=nan, application/json;q=0.1", "application/json"),
        (f"{LD};q=inf, application/json;q=0.1", "application/json"),
        (f"{LD};q=-1, application/json;q=0.1", "application/json"),
        (f"{LD};q=0.5;q=0, application/json;q=0.1", PROFILE_3),
        ("APPLICATION/LD+JSON ; q=0.9,, ,application/json;q=0.1", PROFILE_3),
    ],
)
def test_quoted_strings_and_parameters_are_read_as_http_writes_them(
    accept: str, media_type: str
) -> None:
    assert negotiate(accept, (V3, V2)).media_type == media_type


def test_lines_of_the_header_are_one_list() -> None:
    lines = [(b"accept", b"text/html"), (b"host", b"a"), (b"accept", b"application/json;q=0.5")]
    assert accept_of(lines) == "text/html, application/json;q=0.5"
    assert accept_of([(b"host", b"a")]) is None
