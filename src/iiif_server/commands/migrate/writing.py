"""Settings file with comments, and report of a migration. Pure."""

import textwrap
from collections.abc import Iterator
from typing import Any

import tomlkit

from iiif_server.commands.migrate.conversion import NAMES, Conversion, Setting

_WIDTH = 50
"""Column in which comments begin."""


def settings_text(conversion: Conversion, source: str) -> str:
    """Return the settings as TOML, each with a comment about its origin."""
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Made of {source} by `iiif-server migrate`: docs/migrating.md"))
    document.add(tomlkit.comment("All other settings have their defaults: docs/settings.md"))
    document.add(tomlkit.nl())
    top = [setting for setting in conversion.settings if len(setting.path) == 1]
    for setting in top:
        document.add(setting.path[0], _item(setting))
    tables: dict[tuple[str, ...], Any] = {}
    for setting in _in_order(conversion):
        path = setting.path[:-1]
        if path not in tables:
            tables[path] = _table(document, path)
        tables[path].add(setting.path[-1], _item(setting))
    return tomlkit.dumps(document)


def report(conversion: Conversion) -> str:
    """Return the report: settings without an equivalent, URLs that change, remaining steps."""
    return "\n".join(_report(conversion))


def _report(conversion: Conversion) -> Iterator[str]:
    yield f"This is {NAMES[conversion.kind]}."
    if conversion.unsupported:
        yield "\nWithout an equivalent:"
        for old, advice in conversion.unsupported:
            yield f"  {old}: {advice}"
    if conversion.differences:
        yield "\nAddresses that differ:"
        for difference in conversion.differences:
            yield f"  - {difference.what}"
            yield f"      before  {difference.before}"
            yield f"      now     {difference.now}"
    if conversion.ignored:
        yield "\nNothing to set, because it is unused, switched off, or has no meaning here:"
        yield from textwrap.wrap(
            ", ".join(conversion.ignored),
            100,
            initial_indent="  ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
    to_do = [*conversion.to_do, *_about_hosts(conversion)]
    if to_do:
        yield "\nTo do:"
        for text in to_do:
            yield f"  - {text}"


def _about_hosts(conversion: Conversion) -> Iterator[str]:
    if conversion.hosts:
        yield (
            "Originals are fetched from public addresses only. If one of these has a private one, "
            f"add its network to fetch.allow_networks: {', '.join(conversion.hosts)}"
        )


def _in_order(conversion: Conversion) -> list[Setting]:
    """Return the settings in tables: types first, then the others in their order."""
    inner = [setting for setting in conversion.settings if len(setting.path) > 1]
    return sorted(inner, key=lambda setting: setting.path[0] != "types")


def _table(document: tomlkit.TOMLDocument, path: tuple[str, ...]) -> Any:
    """Return the table at a path; creates it and its parents."""
    container: Any = document
    for index, name in enumerate(path):
        if name not in container:
            container.add(name, tomlkit.table(is_super_table=index < len(path) - 1))
        container = container[name]
    return container


def _item(setting: Setting) -> Any:
    item = tomlkit.item(setting.value)
    if setting.comment:
        item.comment(setting.comment)
        written = len(f"{setting.path[-1]} = {item.as_string()}")
        item.trivia.comment_ws = " " * max(2, _WIDTH - written)
    return item
