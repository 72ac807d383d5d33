"""Checks of types: their folders, and the files and links in them."""

import asyncio
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from iiif_server.commands.check.findings import Finding, check_writable
from iiif_server.composition.components import open_fetcher, open_sources
from iiif_server.errors import StorageTimedOutError
from iiif_server.images.originals import Originals
from iiif_server.settings import Settings
from iiif_server.sources.base import Source
from iiif_server.sources.opening import user_name
from iiif_server.sources.unreadable import Survey, find_unreadable

_STORAGE_SECONDS = 10.0
"""Timeout of the disk of a type."""
_NOT_ANSWERING = f"its storage does not answer within {_STORAGE_SECONDS:g} seconds"


_STRIPPED = (
    "strip: only JPEGs are offered for download, without their location metadata; originals of "
    "other formats are not"
)


async def check_types(settings: Settings) -> list[Finding]:
    """Check whether each type can serve its originals; report unreadable files and links."""
    findings = []
    if not settings.types:
        text = "none: add [types.NAME] with a source to the settings, or give --folder FOLDER"
        findings.append(Finding("types", text, ok=False))
    async with AsyncExitStack() as stack:
        sources = open_sources(stack, settings, open_fetcher(stack, settings), lambda _: None)
        originals = Originals(sources)
        found = await originals.problems(_STORAGE_SECONDS, upstream=True)
        for name in originals.not_answering:
            found[name] = [_NOT_ANSWERING]
        usable = [
            sources[name]
            for name, problems in found.items()
            if not problems or (len(sources[name].folders) > 1 and problems != [_NOT_ANSWERING])
        ]
        surveyed = await asyncio.gather(*(_survey(source) for source in usable))
    findings_by_type = {
        source.context.type: type_findings
        for source, type_findings in zip(usable, surveyed, strict=True)
    }
    for name, problems in found.items():
        findings += [Finding(f"type {name}", problem, ok=False) for problem in problems]
        findings += findings_by_type.get(name, [])
    findings += [
        Finding(f"type {name}", _STRIPPED)
        for name, options in settings.types.items()
        if sources[name].treatment.strip_location and options.original == "download"
    ]
    if any(options.source != "disk" for options in settings.types.values()):
        findings.append(check_writable("source_path", settings.source_path))
    return findings


async def _survey(source: Source[Any]) -> list[Finding]:
    """Check which files of a type are readable; the source reports missing folders."""
    subject, findings = f"type {source.context.type}", list[Finding]()
    run = partial(source.context.threads.run, timeout=_STORAGE_SECONDS)
    try:
        for folder in await run(_missing, source.links):
            text = f"follow_links: there is no folder {folder}"
            findings.append(Finding(subject, text, warning=True))
        missing = await run(_missing, source.folders) if len(source.folders) > 1 else ()
        for folder in source.folders:
            if folder in missing:
                continue  # the source reports it
            survey = await run(find_unreadable, folder, source.links)
            text = f"source {source.options.source}, folder {folder.absolute()}"
            findings += _readable(subject, text, survey)
            findings += _links(subject, text, survey)
    except StorageTimedOutError:
        return [Finding(subject, _NOT_ANSWERING, ok=False)]
    return findings


def _missing(folders: Sequence[Path]) -> list[Path]:
    return [folder for folder in folders if not folder.is_dir()]


def _readable(subject: str, text: str, survey: Survey) -> Iterator[Finding]:
    user = f"{user_name()} (uid {os.geteuid()})"
    tried = f"{survey.entries:,} files and folders"
    if not survey.is_complete:
        tried = f"the first {tried} (no more are tried)"
    if not survey.failures:
        readable = f", {tried} can be read by the user {user}" if survey.entries else ""
        yield Finding(subject, f"{text}{readable}")
    some = survey.failures < survey.entries
    for number, found in survey.unreadable.items():
        yield Finding(
            subject,
            f"{text}: of {tried} the user {user} cannot read {found.number:,}, as {found.example}: "
            f"{_advice(number)}",
            ok=some,
            warning=some,
        )


def _links(subject: str, text: str, survey: Survey) -> Iterator[Finding]:
    if survey.outside_links is not None:
        number = survey.outside_links.number
        lead = "link leads" if number == 1 else "links lead"
        yield Finding(
            subject,
            f"{text}: {number:,} {lead} out of it, as {survey.outside_links.example} to "
            f"{survey.link_target}; such links are followed with follow_links = "
            f'["{survey.folder_to_follow}"]',
            warning=True,
        )


def _advice(number: int) -> str:
    """Explain an errno of a file or folder, with a remedy."""
    reason = f"{os.strerror(number).lower()} ({errno.errorcode.get(number, number)})"
    if number in {errno.EACCES, errno.EPERM}:
        return (
            f"{reason}; permit this user to read files and to enter folders (chmod -R u+rX, chown)"
        )
    if number in {errno.EIO, errno.ESTALE}:
        return f"{reason}; check the disk or network file system, and mount it again"
    return f"{reason}; the system's log may tell more"
