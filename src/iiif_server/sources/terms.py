"""Terms of one original: rights and limits that its source knows of. Pure."""

from dataclasses import dataclass, field

from iiif_server.iiif.geometry import Limits


@dataclass(frozen=True, slots=True)
class Terms:
    """Rights and limits of one original, besides those of its type and of the server."""

    rights: str | None = None
    """URI of its licence or rights statement; None: that of its type."""
    limits: Limits = field(default_factory=Limits)

    def within(self, other: "Terms") -> "Terms":
        """The stricter limits of both, and these rights before the others."""
        return Terms(self.rights or other.rights, self.limits.within(other.limits))


NO_TERMS = Terms()
