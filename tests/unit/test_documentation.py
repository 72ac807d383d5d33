"""What the documentation must have, held to the code."""

import inspect
import re
import tomllib
from pathlib import Path

import pytest
from click import Context
from pydantic import BaseModel

from iiif_server import errors
from iiif_server.app import create_app
from iiif_server.cli import COMMANDS, main
from iiif_server.commands.formats import formats_tables
from iiif_server.commands.migrate.conversion import Kind
from iiif_server.commands.settings import settings_page
from iiif_server.formats.table import INPUT_ROWS, OUTPUT_ROWS
from iiif_server.iiif.formats import Format
from iiif_server.plan.header import Reader
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.routes.presentation import COLLECTION, MANIFEST
from iiif_server.server.problems import DESCRIPTIONS, STATUS, status_of
from iiif_server.settings import Settings, load_settings
from iiif_server.sources.base import TypeOptions

ROOT = Path(__file__).parents[2]
ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.IiifServerError)
    and kind not in {errors.IiifServerError, errors.ConfigurationError}
]


def _setting_names(model: type[BaseModel] = Settings, prefix: str = "") -> set[str]:
    names = set()
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            names |= _setting_names(nested, f"{name}.")
        else:
            names.add(f"{prefix}{name}")
    return names


def _named_in_example() -> set[str]:
    """The settings in the example file, those behind a # included."""
    names, table = set(), ""
    for line in (ROOT / "settings.example.toml").read_text().splitlines():
        if header := re.match(r"\[([\w.]+)\]", line):
            table = f"{header[1]}."
        elif setting := re.match(r"(?:# )?(\w+) = ", line):
            names.add(f"{table}{setting[1]}")
    return names


def test_the_table_of_layers_is_that_of_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    contract = [set(re.split(r"[ |]+", layer)) for layer in layers]
    table = (
        (ROOT / "docs/architecture.md").read_text().partition("| layer |")[2].partition("\n\n")[0]
    )
    rows = [set(re.findall(r"`(\w+)/?`", line.split("|")[1])) for line in table.splitlines()[2:]]
    assert [{"cli", "__main__"}, *contract[2:]] == rows


def test_settings_page_is_the_one_the_models_make() -> None:
    assert (ROOT / "docs/settings.md").read_text() == settings_page(), "run `make docs`"


def test_every_setting_has_a_description() -> None:
    assert "|  |" not in settings_page()


def test_example_file_names_every_setting() -> None:
    assert _setting_names() - _named_in_example() == {"types"}


def test_example_file_is_accepted_and_shows_the_defaults() -> None:
    loaded = load_settings(ROOT / "settings.example.toml")
    # Relative paths, defaults too, are relative to the folder of the settings file.
    folders = {"source_path": ROOT / "data/source", "cache_path": ROOT / "data/cache"}
    defaults = Settings.model_validate(folders)
    assert loaded.model_dump(exclude={"types"}) == defaults.model_dump(exclude={"types"})
    assert {options.source for options in loaded.types.values()} == {"disk", "web", "trusted_web"}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_documented_status(kind: type[errors.IiifServerError]) -> None:
    status = next(STATUS[base] for base in kind.__mro__ if base in STATUS)
    assert status in DESCRIPTIONS
    assert status in STATUS.values()
    if kind is not errors.MalformedParameterError:
        assert status_of(kind("why")) == status


def test_every_status_stands_in_the_operators_table() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    for status in set(STATUS.values()):
        assert str(status) in page, status


def test_readme_names_only_settings_that_exist() -> None:
    table = (ROOT / "README.md").read_text().partition("| setting |")[2].partition("\n\n")[0]
    known = {name.rpartition(".")[2] for name in _setting_names()} | {"source", "url", "regex"}
    known |= {*TypeOptions.model_fields, "id"}
    named = set(re.findall(r"`([a-z_]+)`", table))
    assert named
    assert named <= known


def test_tests_named_in_the_compliance_table_exist() -> None:
    page = (ROOT / "docs/compliance.md").read_text()
    for path in re.findall(r"`((?:unit|property|integration|e2e)/[\w/.]*)`", page):
        assert (ROOT / "tests" / path).exists(), path
    for path in re.findall(r"`((?:iiif|plan|formats|codecs|images|server|routes)/\w+\.py)`", page):
        assert (ROOT / "src/iiif_server" / path).exists(), path


def test_container_names_only_variables_that_are_settings() -> None:
    known = {f"IIIF_{name.upper()}" for name in (*Settings.model_fields, "config")}
    for file in ("Dockerfile", "docker-compose.yml"):
        for variable in re.findall(r"\bIIIF_[A-Z_]+", (ROOT / file).read_text()):
            assert variable.partition("__")[0] in known, (file, variable)


def test_version_in_the_package_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert inspect.getmodule(errors) is not None
    from iiif_server import __version__  # noqa: PLC0415

    assert __version__ == project["version"]


def test_tests_named_in_the_security_page_exist() -> None:
    page = (ROOT / "docs/security.md").read_text()
    named = set(re.findall(r"`(test_\w+|Test\w+)`", page))
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert len(named) > 20
    for name in named:
        assert re.search(rf"(?:def|class) {name}\b", code), name
    for path in re.findall(r"`((?:unit|property|integration|e2e|support)/[\w/]+\.py)`", page):
        assert (ROOT / "tests" / path).exists(), path


def test_commands_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"iiif-server ([a-z]+)\b", (ROOT / "README.md").read_text()))
    assert set(COMMANDS) - {"formats", "serve-share", "settings"} <= named <= set(COMMANDS)
    targets = set(re.findall(r"(?m)^ +make ([a-z]+)", (ROOT / "README.md").read_text()))
    assert {"run", "test"} <= targets
    for target in targets:
        assert re.search(rf"(?m)^{target}:", (ROOT / "Makefile").read_text()), target


@pytest.mark.parametrize("page", ["exporting.md", "migrating.md", "../README.md"])
def test_options_of_commands_that_pages_name_exist(page: str) -> None:
    """Whatever begins with two hyphens is an option of ours."""
    known = {
        option
        for name in COMMANDS
        if (command := main.get_command(Context(main), name)) is not None
        for parameter in command.params
        for option in parameter.opts
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (ROOT / "docs" / page).read_text()))
    assert named
    assert named <= known


def test_every_server_that_can_be_moved_from_has_a_part_of_its_page() -> None:
    page = (ROOT / "docs/migrating.md").read_text()
    for kind in Kind:
        assert f"`{kind}`" in page or f"`--from {kind}`" in page
    assert len(re.findall(r"(?m)^## From ", page)) == len(Kind)


def test_settings_that_the_migration_page_names_exist() -> None:
    page = (ROOT / "docs/migrating.md").read_text()
    known = _setting_names()
    tables = {name.partition(".")[0] for name in known if "." in name}
    for name in re.findall(r"`((?:\w+)\.\w+)`", page):
        if name.partition(".")[0] in tables:
            assert name in known, name


def test_addresses_that_the_presentation_page_names_exist() -> None:
    page = (ROOT / "docs/presentation.md").read_text()
    paths = set(create_app(Settings()).openapi()["paths"])
    named = {f"/{MANIFEST}", f"/{{identifier}}/{MANIFEST}", f"/{COLLECTION}"}
    assert named <= paths
    for path in named:
        assert f"| `{path}" in page


def test_modules_that_pages_name_exist() -> None:
    source = ROOT / "src/iiif_server"
    packages = "|".join(path.parent.name for path in source.glob("*/__init__.py"))
    named = 0
    for page in (*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        if page.name == "sources-design.md":  # parts of it are not built yet
            continue
        # What was removed may be named in the first column of a table of what replaces it.
        text = re.sub(r"(?m)^\| `(?:server|images)/\w+\.py`[^|]*\| (?!\|)", "", page.read_text())
        for path in re.findall(rf"`((?:{packages})/[\w/]*(?:\.py)?)`", text):
            assert (source / path).exists(), (page.name, path)
            named += 1
    assert named > 80


def test_folders_and_files_for_contributors_exist() -> None:
    places = (ROOT, ROOT / "src/iiif_server", ROOT / "tests")
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`([a-z_]+/[\w/]*(?:\.(?:py|md))?)`", text)
    assert len(paths) > 10
    for path in paths:
        assert any((place / path).exists() for place in places), path


def test_names_in_the_glossary_exist() -> None:
    page = (ROOT / "docs/glossary.md").read_text()
    rows = re.findall(r"(?m)^\| `(\w+)` \| `([\w/]+\.py)` \|", page)
    assert len(rows) > 40
    for name, module in rows:
        code = (ROOT / "src/iiif_server" / module).read_text()
        assert re.search(rf"(?:def|class) {name}\b", code), (name, module)


def test_links_between_pages_lead_somewhere() -> None:
    pages = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    for page in pages:
        for target, anchor in re.findall(
            r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)", page.read_text()
        ):
            other = (page.parent / target) if target else page
            assert other.exists(), (page.name, target)
            if anchor:
                headings = re.findall(r"(?m)^#+ (.*)$", other.read_text())
                slugs = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
                assert anchor in slugs, (page.name, target, anchor)


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").as_posix()
        assert path == "README.md" or f"]({path})" in index, path


def test_tables_of_formats_are_those_of_the_code() -> None:
    page = (ROOT / "docs/formats.md").read_text()
    table = page.partition("<!-- tables: made by `make docs` -->\n")[2].partition("<!-- end -->")[0]
    assert table == formats_tables(), "run `make docs`"


def test_the_table_of_formats_has_all_of_them() -> None:
    pairs = [(row.format, row.reader) for row in INPUT_ROWS]
    assert len(set(pairs)) == len(pairs)
    assert {row.format for row in INPUT_ROWS} == set(OriginalFormat)
    assert {row.reader for row in INPUT_ROWS} == set(Reader)
    assert [row.format for row in OUTPUT_ROWS] == list(Format)
