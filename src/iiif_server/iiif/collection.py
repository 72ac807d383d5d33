"""Collections: the images and folders of a folder (Presentation API 3.0, 5.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iiif_server.iiif.manifest import CONTEXT


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference to a collection or a manifest, as an item of a collection."""

    id: str
    type: str
    """`Collection` or `Manifest`."""
    label: str

    @property
    def document(self) -> dict[str, Any]:
        """Reference as an item of a collection."""
        return {"id": self.id, "type": self.type, "label": {"none": [self.label]}}


def collection(
    id_: str,
    label: str,
    items: Sequence[Reference],
    part_of: Reference | None = None,
    summary: str | None = None,
) -> dict[str, Any]:
    """Collection with these items, in this order (Presentation API 3.0, 5.1)."""
    return {
        "@context": CONTEXT,
        "id": id_,
        "type": "Collection",
        "label": {"none": [label]},
        **({"summary": {"en": [summary]}} if summary else {}),
        **({"partOf": [part_of.document]} if part_of else {}),
        "items": [item.document for item in items],
    }


def part_references(
    id_: str, label: str, count: int, size: int, total: int
) -> tuple[Reference, ...]:
    """Return references to the parts of a large collection.

    Presentation API 3.0 has no paged collections, so each part is a collection, too.
    """
    return tuple(
        Reference(
            f"{id_}?page={number}",
            "Collection",
            f"{label}: {(number - 1) * size + 1} to {min(number * size, total)} of {total}",
        )
        for number in range(1, count + 1)
    )
