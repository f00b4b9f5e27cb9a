"""Room on the disk: a floor below which nothing new is begun, so that what runs can end."""

import os
from pathlib import Path

from app.shared.errors import DiskFullError
from app.shared.settings import Settings


def has_room(settings: Settings, n_bytes: int = 0) -> bool:
    """Would so many more bytes in the data folder leave the floor free?"""
    return free_bytes(settings.folder) - n_bytes >= settings.min_free_bytes


def require_room(settings: Settings, n_bytes: int = 0) -> None:
    """Refuse what would leave less than the floor.

    Raises:
        DiskFullError: it would.
    """
    if has_room(settings, n_bytes):
        return
    wanted = settings.min_free_bytes + n_bytes
    raise DiskFullError(
        "disk_full",
        f"wanted {wanted:,} bytes free on the service's disk, of which {settings.min_free_bytes:,} "
        f"stay free (DDCAL_MIN_FREE_BYTES); got {free_bytes(settings.folder):,}",
    )


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written below a folder, which need not exist yet."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize
