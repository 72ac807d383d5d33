"""Disk space: size and free bytes."""

import os
from pathlib import Path

from iiif_server.cache.eviction import Disk


def disk_of(folder: Path) -> Disk:
    """Size and free bytes of the disk of a folder, which is created if missing. Raises OSError."""
    try:
        status = os.statvfs(folder)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        status = os.statvfs(folder)
    return Disk(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)
