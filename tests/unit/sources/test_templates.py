"""Templates of paths and URLs."""

import re

import pytest

from iiif_server.errors import OriginalNotFoundError
from iiif_server.sources.templates import Template, as_is, as_url

IN_PATH = "https://example.org/images/{name}.jpg"
IN_QUERY = "https://example.org/get?id={name}&size=full"


@pytest.mark.parametrize(
    ("template", "name", "url"),
    [
        (IN_PATH, "banana", "https://example.org/images/banana.jpg"),
        (IN_PATH, "a/b", "https://example.org/images/a/b.jpg"),
        (IN_PATH, "a b", "https://example.org/images/a%20b.jpg"),
        (IN_PATH, "caf\xe9", "https://example.org/images/caf%C3%A9.jpg"),
        (IN_PATH, "a?b#c", "https://example.org/images/a%3Fb%23c.jpg"),
        (IN_PATH, "a@b:c", "https://example.org/images/a%40b%3Ac.jpg"),
        (IN_PATH, "100%", "https://example.org/images/100%25.jpg"),
        (IN_PATH, "a==", "https://example.org/images/a%3D%3D.jpg"),
        (IN_PATH, "a\\b", "https://example.org/images/a%5Cb.jpg"),
        (IN_PATH, "{name}", "https://example.org/images/%7Bname%7D.jpg"),
        (IN_PATH, "...", "https://example.org/images/....jpg"),
        ("https://h//x/{name}/", "a", "https://h//x/a/"),
        (IN_QUERY, "/a//b/", "https://example.org/get?id=%2Fa%2F%2Fb%2F&size=full"),
        (IN_QUERY, "banana", "https://example.org/get?id=banana&size=full"),
        (IN_QUERY, "a/b", "https://example.org/get?id=a%2Fb&size=full"),
        (IN_QUERY, "a&x=y", "https://example.org/get?id=a%26x%3Dy&size=full"),
        (IN_QUERY, "a+b", "https://example.org/get?id=a%2Bb&size=full"),
        (IN_QUERY, "a#b", "https://example.org/get?id=a%23b&size=full"),
        ("https://h/{name}?n={name}", "a/b", "https://h/a/b?n=a%2Fb"),
        ("https://h/{name}/{name}", "a", "https://h/a/a"),
        ("https://h/fixed.jpg", "a", "https://h/fixed.jpg"),
    ],
)
def test_a_name_is_encoded_for_where_it_stands(template: str, name: str, url: str) -> None:
    assert Template(template).expand(name, quote=as_url) == url


@pytest.mark.parametrize(
    ("template", "name", "path"),
    [
        ("{name}", "a/b.jpg", "a/b.jpg"),
        ("{name[0:2]}/{name[2:4]}/{name}.tif", "abcdef", "ab/cd/abcdef.tif"),
        ("{name[:2]}/{name[-2:]}/{name[:]}", "abcdef", "ab/ef/abcdef"),
        ("{stem}.tif", "a/b.c.jpg", "b.c.tif"),
        ("{stem}.tif", "b", "b.tif"),
        ("{stem}.tif", ".jpg", ".jpg.tif"),
        ("{dir}/tiff/{stem}.tif", "a/b/c.jpg", "a/b/tiff/c.tif"),
        ("{dir}/tiff/{stem}.tif", "c.jpg", "tiff/c.tif"),
        ("x/{dir[0:1]}/{stem}", "ab/c", "x/a/c"),
        ("{name}/{page}.tif", "a", "a/7.tif"),
        ("{name}", "a;b=c&d%20\\e", "a;b=c&d%20\\e"),
    ],
)
def test_fields_stand_for_parts_of_the_name(template: str, name: str, path: str) -> None:
    assert Template(template).expand(name, 7) == path


def test_a_template_knows_whether_it_has_pages() -> None:
    assert Template("{name}-{page}.tif").has_page
    assert not Template("{name}-page.tif").has_page


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{nmae}.jpg", "there is no field {nmae}: there are {name}, {stem}, {dir}, {page}"),
        ("{nmae}.jpg", "did you mean {name}?"),
        ("{}", "there is no field {}: there are {name}, {stem}, {dir}, {page}"),
        ("{identifier[0:2]}", "there is no field {identifier}"),
        ("{name[2]}", "{name[2]} is not a field"),
        ("{name[a:b]}", "{name[a:b]} is not a field"),
        ("{name[0:2:1]}", "{name[0:2:1]} is not a field"),
        ("{page[0:1]}", "{page[0:1]} is not a field"),
        ("{name!r}", "there is no field {name!r}"),
        ("{name", "a brace"),
        ("name}", "a brace"),
        ("{{name}}", "a brace"),
        ("a/../{name}", "must not have . or .."),
        ("./{name}", "must not have . or .."),
        ("a\\..\\{name}", "must not have . or .."),
    ],
)  # fmt: skip
def test_what_is_no_template_is_an_error_that_names_the_fields(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        Template(text)


CLIMBING = [
    "..", ".", "../a", "a/..", "a/../b", "./a", "a/./b", "..\\a", "a\\..\\b", "a\\.", "%2e%2e/a",
    "%2E%2e%2fa", "%252e%252e%252fa", "..%5Ca", "..%255ca", "a%2f..%2fb", "%2525252e%2525252e/a",
    "..;/a", "..;x=y/a", ".. /a", "a/%2e%20/b", "a\0b", "a%00b", "a%2500b", "a\nb", "a%0ab",
    "a/%" + "25" * 20 + "2e%2e", "..?a", "a?b=../c", "..%3Fa",
]  # fmt: skip
EMPTY = ["", "/a", "a/", "a//b", "/", "//evil.org/a", "\\\\evil\\a", "%2fa", "a%252f%252fb", "a%5c"]


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("template", [IN_PATH, IN_QUERY, "https://h/{name}", "{name}", "x/{name}"])
def test_a_name_does_not_climb_out_of_its_place(template: str, name: str) -> None:
    for quote in (as_url, as_is):
        with pytest.raises(OriginalNotFoundError) as refused:
            Template(template.replace(".jpg", "/x")).expand(name, quote=quote)
        assert "example.org" not in str(refused.value)


@pytest.mark.parametrize("name", EMPTY)
def test_a_name_leaves_no_segment_of_a_path_empty(name: str) -> None:
    for quote in (as_url, as_is):
        with pytest.raises(OriginalNotFoundError):
            Template(IN_PATH).expand(name, quote=quote)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (".{name}/x", "."),
        ("{name[0:2]}/x", "..a"),
        ("{name[0:1]}{name[2:3]}/x", ".a."),
        ("{stem}/x", "a/...jpg"),
        ("%2{name}./x", "e"),
        ("{name[0:2]}/{name[2:4]}/{name}", "ab"),
    ],
)
def test_what_is_put_together_is_checked_too(template: str, name: str) -> None:
    with pytest.raises(OriginalNotFoundError):
        Template(template).expand(name)
