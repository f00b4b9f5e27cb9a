"""Who may do what with files."""

from pathlib import Path


def open_to_others(folder: Path) -> list[str]:
    """The folder and what lies below it that group or others may do anything with, links aside."""
    found = [folder, *folder.rglob("*")]
    return [str(path) for path in found if not path.is_symlink() and path.stat().st_mode & 0o077]
