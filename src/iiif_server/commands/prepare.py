"""What `iiif-server prepare` does: pyramids ahead of time, with the server's own parts."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from iiif_server.commands.preparation import Outcome, Preparation, Prepared
from iiif_server.composition import open_context, patient
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.identifier import Identifier, parse_identifiers
from iiif_server.server.services import Services
from iiif_server.settings import Settings

Progress = Callable[[int], AbstractContextManager[Callable[[], None]]]
"""Given how many there are, a context that yields what is called after each."""


@dataclass(slots=True)
class Summary:
    """What was done for all."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    failed: list[Prepared] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.counts[Outcome.MADE]} made, {self.counts[Outcome.PRESENT]} there already, "
            f"{self.counts[Outcome.SMALL]} too small to need one, {len(self.failed)} failed."
        )


async def prepare(
    settings: Settings, type_: str | None, written: Iterable[str], progress: Progress
) -> Summary:
    """Make the pyramids of all originals of a type, or of these identifiers.

    Raises ConfigurationError if there are no originals, for a type whose source cannot list them,
    and what `parse_identifiers` raises.
    """
    summary = Summary()
    async with open_context(patient(settings), lambda _: None) as services:
        chosen = _identifiers(settings, services, type_, written)
        if not chosen:
            raise ConfigurationError(nothing_to_do(type_))
        preparation = Preparation(
            services.originals, services.headers, services.pyramids, settings.image_pool_size
        )
        with progress(len(chosen)) as advance:
            async for prepared in preparation.prepare(chosen):
                summary.counts[prepared.outcome] += 1
                if prepared.outcome is Outcome.FAILED:
                    summary.failed.append(prepared)
                advance()
    return summary


def nothing_to_do(type_: str | None) -> str:
    """Why a command has no images to work on."""
    if type_ is None:
        return "No identifiers were given."
    return f"There are no images in the type {type_}: its folder is empty."


def _identifiers(
    settings: Settings, services: Services, type_: str | None, written: Iterable[str]
) -> list[Identifier]:
    if type_ is None:
        return parse_identifiers(written, settings.default_type)
    return list(services.originals.identifiers(type_))
