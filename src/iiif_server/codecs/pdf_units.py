"""UserUnit of PDF pages (ISO 32000-1, table 30), by qpdf: PDFium has no function for it."""

import logging
import os
from collections.abc import Sequence
from decimal import Decimal

_MAX_REPAIRED = 16 << 20
"""Maximum bytes of a file without a usable cross-reference table that qpdf repairs."""
_MAX_UNIT = 75_000
"""Maximum UserUnit of Acrobat, for pages of 381 km."""

logging.getLogger("pikepdf").addHandler(logging.NullHandler())  # else it writes to standard error


def read_user_units(descriptor: int, pages: int) -> Sequence[float]:
    """Read the UserUnit of each page, the factor of its boxes; 1 if the page has none.

    It is 1 for all pages, too, where qpdf cannot read the document, or sees other pages than the
    `pages` of PDFium: they are still shown.
    """
    import pikepdf  # noqa: PLC0415 - 80 ms and 15 MB, for workers that need it

    repair = os.fstat(descriptor).st_size <= _MAX_REPAIRED
    try:
        with (
            os.fdopen(os.dup(descriptor), "rb") as file,
            pikepdf.open(
                file,
                attempt_recovery=repair,
                inherit_page_attributes=False,
                access_mode=pikepdf.AccessMode.stream,  # a file that shrinks must not kill anyone
            ) as document,
        ):
            units = [_unit(page.obj.get("/UserUnit")) for page in document.pages]
    except Exception:  # noqa: BLE001 - whatever qpdf does not like, PDFium may
        units = []
    return units if len(units) == pages else [1.0] * pages


def _unit(value: object) -> float:
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and 0 < value <= _MAX_UNIT:
        return float(value)
    return 1.0
