"""The result of a check, and checks that several use."""

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from iiif_server.sources.opening import user_name


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    subject: str
    text: str
    fine: bool = True
    """False: a problem that has to be fixed."""
    warning: bool = False

    @property
    def label(self) -> str:
        """The word in front of its line."""
        return "FAIL" if not self.fine else "WARN" if self.warning else "ok"


def check_writable(subject: str, folder: Path) -> Finding:
    """Whether the server can write to a folder or create it; it is not created here."""
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
        return Finding(subject, text, fine=False)
    return Finding(subject, f"{folder} does not exist yet; the server will create it")
