"""Terms of one original: rights and limits from its source. Pure."""

from dataclasses import dataclass, field

from iiif_server.iiif.geometry import Limits


@dataclass(frozen=True, slots=True)
class Terms:
    """Rights and limits of one original, in addition to those of its type and of the server."""

    rights: str | None = None
    """URI of the licence or rights statement; None: that of the type."""
    limits: Limits = field(default_factory=Limits)

    def within(self, other: "Terms") -> "Terms":
        """Combine two terms: the stricter limits, and these rights or else the others."""
        return Terms(self.rights or other.rights, self.limits.within(other.limits))


NO_TERMS = Terms()
