"""Names of files in archives: decoded, and safe to be paths below a folder on every system.

Source: PKWARE's APPNOTE.TXT 6.3.10, appendix D, for what a zip says of the encoding of its names.
"""

import unicodedata
from typing import Final, get_args

from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.uploads import CodePage

MAX_NAME_BYTES = 255
JOINERS: Final = ("\u200c", "\u200d")
"""Format characters that belong to writings: ZWNJ of Persian, ZWJ of Indic scripts and emoji."""

_CODE_PAGES: tuple[CodePage, ...] = get_args(CodePage)
_TOLD = ("cp437", "cp1252", "cp932", "gbk")
_UNSHOWN = ("Cc", "Cf", "Zl", "Zp")


def decoded_name(raw: bytes, *, is_utf8: bool, code_page: CodePage | None) -> str:
    """A name out of a zip's directory; Windows' backslashes become slashes.

    Args:
        raw: as it stands there.
        is_utf8: whether the zip says that the name is UTF-8.
        code_page: that all other names are of; None: they have to be UTF-8 as well, as is ASCII.

    Raises:
        InvalidDataError: it is of another encoding, or no safe name (see `require_safe`).
    """
    if not 1 <= len(raw) <= MAX_NAME_BYTES:
        raise InvalidDataError(
            f"wanted names of 1 to {MAX_NAME_BYTES} bytes; got one of {len(raw):,}: {raw[:40]!r}"
        )
    encoding = "utf-8" if is_utf8 or code_page is None else code_page
    try:
        name = raw.decode(encoding)
    except UnicodeDecodeError:
        raise InvalidDataError(_undecodable(raw, encoding)) from None
    name = name.replace("\\", "/")
    require_safe(name)
    return name


def require_safe(name: str) -> None:
    """Refuse a name that is no path below where it is unpacked, or that is not what it shows.

    Args:
        name: with forward slashes; a folder's ends in one.

    Raises:
        InvalidDataError: says what was wanted and what was got.
    """
    parts = name.removesuffix("/").split("/")
    has_drive = len(parts[0]) >= 2 and parts[0][1] == ":" and parts[0][0].isalpha()
    if name.startswith("/") or has_drive:
        raise InvalidDataError(f"wanted relative names without a drive letter; got {name!r}")
    if not all(parts) or "." in parts or ".." in parts:
        raise InvalidDataError(f"wanted names without empty, '.' or '..' parts; got {name!r}")
    if not name.isprintable() and any(map(is_unshown, unjoined(name))):
        raise InvalidDataError(f"wanted names without control or format characters; got {name!r}")


def is_unshown(character: str) -> bool:
    """Whether a character is a control or format character, or ends a line."""
    return unicodedata.category(character) in _UNSHOWN


def unjoined(name: str) -> str:
    """A name without the joiners that stand between two letters of a writing, or two emoji.

    One at an end, or beside ASCII, shows nothing and stays.
    """
    if not any(joiner in name for joiner in JOINERS):
        return name
    return "".join(one for k, one in enumerate(name) if one not in JOINERS or not _joins(name, k))


def _joins(name: str, k: int) -> bool:
    before, after = name[k - 1 : k], name[k + 1 : k + 2]
    return all(one and not one.isascii() and not is_unshown(one) for one in (before, after))


def _undecodable(raw: bytes, encoding: str) -> str:
    """Say how the name would read in the usual code pages, one of which it is meant in."""
    if encoding != "utf-8":
        return f"wanted names of the code page {encoding}, as declared; got {raw[:80]!r}"
    readings = []
    for page in _TOLD:
        try:
            readings.append(f"{raw[:80].decode(page)!r} with names={page}")
        except UnicodeDecodeError:
            continue
    return (
        f"wanted names in UTF-8, or the code page that they are of; got {raw[:80]!r}, which reads "
        f"{', '.join(readings)} (any of {', '.join(_CODE_PAGES)}; a zip made by Python, 7-Zip or "
        "Info-ZIP has UTF-8)"
    )
