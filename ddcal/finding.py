"""Which service the command line and scripts mean, and the key that belongs to it.

A key goes to nobody but the service it is for: DDCAL_API_KEY to DDCAL_URL where that is set, the
key in a data folder to the service that runs on it.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path

import httpx

from ddcal.local_service import kept_key, running_address

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE = "DDCAL_URL"
KEY_VARIABLE = "DDCAL_API_KEY"
FOLDER_VARIABLE = "DDCAL_DATA_FOLDER"
_DEFAULT_FOLDER = "ddcal-data"
_CLOSE = 0.88


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like one of ours and are none, one line each with the one meant.

    The service knows many more of its own, none of which is as close to one of these.
    """
    known = (URL_VARIABLE, KEY_VARIABLE, FOLDER_VARIABLE)
    lines = []
    for name in sorted(environment):
        if name in known or not name.upper().startswith("DDCAL_"):
            continue
        letters = name.upper().replace("_", "")
        for meant in known:
            close = difflib.SequenceMatcher(None, letters, meant.replace("_", "")).ratio()
            if close > _CLOSE and letters != "DDCALDATASETFOLDER":
                lines.append(f"{name} is not read; did you mean {meant}?")
    return lines


def data_folder(environment: Mapping[str, str]) -> Path:
    """The data folder that a command without --data-folder means."""
    return Path(environment.get(FOLDER_VARIABLE) or _DEFAULT_FOLDER).resolve()


def service_url(environment: Mapping[str, str]) -> str:
    """DDCAL_URL; else the address of the service that runs on the data folder; else the default."""
    return environment.get(URL_VARIABLE) or running_address(data_folder(environment)) or DEFAULT_URL


def service_key(url: str, environment: Mapping[str, str]) -> str | None:
    """The key for the service at a URL; None where none belongs to it.

    Raises:
        httpx.InvalidURL: a URL cannot be read.
        OSError: the file of a running service's key cannot be read.
    """
    named, key = environment.get(URL_VARIABLE), environment.get(KEY_VARIABLE)
    if key and (not named or origin(named) == origin(url)):
        return key
    folder = data_folder(environment)
    address = running_address(folder)
    return kept_key(folder) if address and origin(address) == origin(url) else None


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL; None is the scheme's own port.

    Raises:
        httpx.InvalidURL: they cannot be read.
    """
    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port
