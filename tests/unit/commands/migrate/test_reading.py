from typing import Any

import pytest

from iiif_server.commands.migrate.conversion import Kind
from iiif_server.commands.migrate.reading import kind_of, values_of
from iiif_server.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("types:\n  a: {source: disk}\n", Kind.SEED),
        ("source_path: /a\nhttp_port: 4040\n", Kind.SEED),
        ("source_path: /a\nprofiles:\n  a: {type: disk}\n", Kind.NHM),
        ("default_profile: a\n", Kind.NHM),
        ("http.port = 8182\nsource.static = HttpSource\n", Kind.CANTALOUPE),
        ("FilesystemResolver.path_prefix = /a/\n", Kind.CANTALOUPE),
        ("[loris.Loris]\ntmp_dp='/tmp'\n", Kind.LORIS),
        ("; a comment\n[resolver]\nimpl=SimpleFSResolver\n", Kind.LORIS),
    ],
)
def test_the_content_tells_whose_it_is(text: str, kind: Kind) -> None:
    assert kind_of(text) is kind


@pytest.mark.parametrize("text", ["", "a: 1", "- a", "a = 1", "[", "\x00", "listen 80;"])
def test_what_could_be_anybodys_is_not_guessed(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--from seed, nhm, cantaloupe, loris"):
        kind_of(text)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("a = b", "a", "b"),
        ("a=b", "a", "b"),
        ("a: b", "a", "b"),
        ("a b", "a", "b"),
        ("a =", "a", ""),
        ("a", "a", ""),
        ("a = b = c", "a", "b = c"),
        ("  a.b_c = http://x/y?z=1 ", "a.b_c", "http://x/y?z=1"),
        (r"a = C:\\images\\", "a", "C:\\images\\"),
        (r"a\:b = c", "a:b", "c"),
        (r"a = \u00fcber", "a", "über"),
        ("a = b \\\n    c", "a", "b c"),
        ("a = b # no comment", "a", "b # no comment"),
    ],
)
def test_properties_are_read_as_java_does(line: str, name: str, value: str) -> None:
    text = f"# a comment\n! another = one\n\n{line}\n"
    assert values_of(text, Kind.CANTALOUPE) == {name: value}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("'/var/cache' # rwx", "/var/cache"),
        ("/var/cache", "/var/cache"),
        ("file ; [console|file]", "file"),
        ("5242880 # 5 MB", 5242880),
        ("True", True),
        ("['jpg', 'png']", ["jpg", "png"]),
        ("'a # b'", "a # b"),
        ("jpg,png,gif", "jpg,png,gif"),
        ("'%(asctime)s (%(name)s)'", "%(asctime)s (%(name)s)"),
    ],
)
def test_values_of_sections_are_read_as_configobj_does(written: str, value: Any) -> None:
    assert values_of(f"[a]\nb = {written}\n", Kind.LORIS) == {"a.b": value}


def test_sections_stand_in_sections() -> None:
    text = "[a]\nb=1\n[[c]]\nd=2\n[[ e ]] # comment\nf=3\n[g]\nh=4\n"
    assert values_of(text, Kind.LORIS) == {"a.b": 1, "a.c.d": 2, "a.e.f": 3, "g.h": 4}


@pytest.mark.parametrize(
    ("text", "kind"),
    [("a: [", Kind.SEED), ("- a", Kind.NHM), ("[a]\nno value\n", Kind.LORIS)],
)
def test_what_cannot_be_parsed_is_refused(text: str, kind: Kind) -> None:
    with pytest.raises(ConfigurationError):
        values_of(text, kind)
