"""Templates: no name leaves its folder or URL, however often a server decodes it."""

import re
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from iiif_server.errors import OriginalNotFoundError
from iiif_server.sources.templates import Template, as_url, is_valid_name

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(
        st.sampled_from(["%", "25", "2e", "2F", "5c", "00", ".", "/", "\\", ";", "?", "a", "\0"]),
        max_size=30,
    ).map("".join),
)
templates = st.lists(
    st.sampled_from(["{name}", "{name[0:2]}", "{name[2:]}", "{stem}", "{dir}", "{page}", "/", "x"]),
    min_size=1,
    max_size=6,
).map("".join)


def decoded_fully(text: str) -> list[str]:
    found = [text]
    while (decoded := unquote(found[-1])) != found[-1]:
        found.append(decoded)
    return found


@given(templates, texts)
def test_path_stays_below_its_folder(template: str, name: str) -> None:
    try:
        path = Template(f"root/{template}").expand(name)
    except OriginalNotFoundError:
        return
    for layer in decoded_fully(path):
        assert {".", ".."}.isdisjoint(re.split(r"[/\\\\]", layer))
        assert "\0" not in layer
        assert layer.startswith("root/")


@given(templates, texts)
def test_url_stays_below_its_base_on_its_host(template: str, name: str) -> None:
    try:
        url = Template(f"https://h.example/root/{template}?x={{name}}").expand(name, quote=as_url)
    except OriginalNotFoundError:
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "h.example", "")
    assert parts.query.count("&") == 0
    for layer in decoded_fully(url):
        assert {".", ".."}.isdisjoint(re.split(r"[/\\\\]", layer))
        assert layer.startswith("https://h.example/root/")


names = st.lists(
    st.text(
        st.characters(
            exclude_categories=["Cs", "Cc"], exclude_characters="/\\.%;?&= \u2028\u2029\xa0"
        ),
        min_size=1,
        max_size=9,
    )
    .map(str.strip)
    .filter(bool),
    min_size=1,
    max_size=4,
).map("/".join)


@given(names)
def test_plain_name_is_parsed_from_its_path(name: str) -> None:
    assert Template("a/{name}.tif").expand(name) == f"a/{name}.tif"
    url = Template("https://h/{name}").expand(name, quote=as_url)
    assert unquote(urlsplit(url).path) == f"/{name}"


@given(texts.filter(lambda text: "/" not in text and not text.startswith(".")))
def test_listed_names_can_be_expanded(name: str) -> None:
    try:
        Template("{name}").expand(name)
    except OriginalNotFoundError:
        assert not is_valid_name(name)
    else:
        assert is_valid_name(name)
