"""What a process does first: it reads its settings, and keeps its files to its own user."""

import contextlib
import difflib
import os
import re
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from app.shared.settings import PREFIX, Settings, SettingsError

URL_VARIABLE = "DDCAL_URL"
"""Where the command line looks for the service; no setting of the service itself."""

INVALID_SETTINGS = 2
"""Exit status of a command whose settings cannot be used."""

_OTHERS = 0o077  # what group and others may do
# What lies directly in a data folder: of the settings' folders, of serve, of workers, of SQLite.
_OURS = re.compile(
    r"artifacts|checkpoints|login-tokens|logs|named|redis|run|torch|uploads|work"
    r"|ddcal\.sqlite(-wal|-shm|-journal)?|serve\.lock|(address|api-key)(\.part)?"
)


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this process: what is given, then its environment, then defaults.

    Args:
        given: values by the settings' names.

    Raises:
        SettingsError: a value cannot be used.
    """
    try:
        return Settings(**(given or {}))
    except ValidationError as error:
        lines = [_in_words(one["loc"], one["msg"]) for one in error.errors(include_input=False)]
        raise SettingsError("invalid settings: " + "; ".join(lines)) from None


def settings_or_exit() -> Settings:
    """The settings of a process; where they cannot be used it ends with a message and status 2."""
    try:
        return read_settings()
    except SettingsError as error:
        exit_over_settings(error)


def exit_over_settings(error: SettingsError) -> NoReturn:
    """End this process with what is wrong with its settings."""
    complain(str(error))
    raise SystemExit(INVALID_SETTINGS)


def complain(text: str) -> int:
    """Tell, once, why a program could not do what it was to do; its exit status, 1."""
    sys.stderr.write(f"ddcal: {text}\n")
    return 1


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Of an environment's names, those with our prefix that stand for nothing: one line each."""
    known = [f"{PREFIX}{field.upper()}" for field in Settings.model_fields] + [URL_VARIABLE]
    lines = []
    for name in sorted(names):
        # In either case, as pydantic-settings reads them.
        if not name.upper().startswith(PREFIX) or name.upper() in known:
            continue
        close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75)
        meant = f"; did you mean {close[0]}?" if close else ""
        lines.append(f"{name} is not a setting and is ignored{meant}")
    return lines


def create_privately() -> None:
    """Have this process, and those that it starts, create files for its own user alone."""
    os.umask(_OTHERS)


def private_folder(folder: Path) -> list[str]:
    """Make a data folder, or take what is ddcal's in it from group and others.

    Files of other names are not ours to close, nor is a folder that holds any: it may be a home.
    Links are left alone.

    Returns:
        One line for each thing that stays as it is.

    Raises:
        SettingsError: the folder cannot be made or read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = sorted(path.name for path in folder.iterdir())
        others = [name for name in names if not _OURS.fullmatch(name)]
        told = list(_tighten(os.fspath(folder), leaving=others))
        mode = folder.stat().st_mode
        if not others:
            told += _closed(os.fspath(folder), mode)
        elif mode & _OTHERS:
            kept = f"{folder} holds files that are not ddcal's, such as {others[0]}"
            told.append(f"{kept}: its own permissions stay {stat.filemode(mode)}")
        return told
    except OSError as error:
        reason = error.strerror or "cannot be used"
        raise SettingsError(f"invalid settings: data folder {folder}: {reason}") from None


def _tighten(folder: str, *, leaving: Collection[str] = ()) -> Iterator[str]:
    """Close all below a folder; by names and scandir, as there may be a hundred thousand files."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in leaving or entry.is_symlink():
                continue
            # A running service may delete any of them meanwhile.
            with contextlib.suppress(FileNotFoundError):
                yield from _closed(entry.path, entry.stat(follow_symlinks=False).st_mode)
                if entry.is_dir(follow_symlinks=False):
                    yield from _tighten(entry.path)


def _closed(path: str, mode: int) -> Iterator[str]:
    if not mode & _OTHERS:
        return
    try:
        os.chmod(path, stat.S_IMODE(mode) & ~_OTHERS)  # noqa: PTH101  names, as above
    except PermissionError:
        yield f"{path} belongs to another user: its permissions stay {stat.filemode(mode)}"


def _in_words(location: tuple[int | str, ...], message: str) -> str:
    variable = "_".join(str(part) for part in location).upper()
    words = message.removeprefix("Value error, ")
    return f"{PREFIX}{variable}: {words}" if variable else words
