"""Selection of entries for eviction."""

from collections.abc import Sequence

from iiif_server.cache.eviction import Bounds, Candidate, Selection


def victims(
    entries: Sequence[Candidate],
    bounds: Bounds,
    now: float,
    expected: tuple[int, int] | None = None,
) -> list[Candidate]:
    """Return the entries to evict, least recently used first; all are `expected` by default."""
    usual = sum(entry.size for entry in entries), len(entries)
    selection = Selection(bounds, now, expected or usual)
    for entry in entries:
        selection.add(entry)
    chosen = {(entry.name, entry.size) for entry in selection.victims()}
    gone = [entry for entry in entries if (entry.name, entry.size) in chosen]
    return sorted(gone, key=lambda entry: entry.last_used)
