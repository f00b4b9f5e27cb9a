"""What a process does first: it reads its settings, and keeps its files to its own user."""

import difflib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from app.shared.settings import PREFIX, Settings, SettingsError

URL_VARIABLE = "DDCAL_URL"
"""Where the command line looks for the service; no setting of the service itself."""

INVALID_SETTINGS = 2
"""Exit status of a command whose settings cannot be used."""

_OTHERS = 0o077  # what group and others may do


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
    sys.stderr.write(f"ddcal: {error}\n")
    raise SystemExit(INVALID_SETTINGS)


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
    """Make a folder, or take all below it from group and others as it stands; links are left alone.

    Returns:
        One line for each file or folder of another user, which stays as it is.

    Raises:
        SettingsError: the folder cannot be made or read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return list(_tighten(os.fspath(folder), os.stat(folder).st_mode))  # noqa: PTH116
    except OSError as error:
        reason = error.strerror or "cannot be used"
        raise SettingsError(f"invalid settings: data folder {folder}: {reason}") from None


def _tighten(path: str, mode: int) -> Iterator[str]:
    if mode & _OTHERS:
        try:
            os.chmod(path, stat.S_IMODE(mode) & ~_OTHERS)  # noqa: PTH101
        except PermissionError:
            yield f"{path} belongs to another user: its permissions stay {stat.filemode(mode)}"
        except FileNotFoundError:  # a running service has deleted it meanwhile
            return
    if not stat.S_ISDIR(mode):
        return
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    yield from _tighten(entry.path, entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return


def _in_words(location: tuple[int | str, ...], message: str) -> str:
    variable = "_".join(str(part) for part in location).upper()
    words = message.removeprefix("Value error, ")
    return f"{PREFIX}{variable}: {words}" if variable else words
