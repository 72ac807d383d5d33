"""Result of a check, and the check of writable folders."""

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from iiif_server.sources.opening import user_name


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check."""

    subject: str
    text: str
    ok: bool = True
    """False for a problem that the operator has to fix."""
    warning: bool = False

    @property
    def label(self) -> str:
        """Label in front of the line: FAIL, WARN or ok."""
        return "FAIL" if not self.ok else "WARN" if self.warning else "ok"


def check_writable(subject: str, folder: Path) -> Finding:
    """Check whether the server can write to a folder or create it, without creating it."""
    folder = folder.absolute()
    try:
        if folder.exists():
            with tempfile.TemporaryFile(dir=folder):
                return Finding(subject, f"{folder} can be written")
        parent = next(parent for parent in folder.parents if parent.exists())
        if not parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        text = (
            f"{folder} cannot be written by the user {user_name()} ({error.strerror}): "
            "change it or its owner"
        )
        return Finding(subject, text, ok=False)
    return Finding(subject, f"{folder} does not exist yet; the server will create it")
