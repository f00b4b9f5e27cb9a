"""Landlock by its three system calls: files, TCP, signals (Linux 5.13 and later; see landlock(7)).

What the kernel does not know yet is left out: `abi` tells what it knows.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

# The same numbers on x86-64 and ARM64, as all that came after Linux 5.1.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_OF_ABI_1 = (1 << 13) - 1
_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEVICE}
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
READ = _EXECUTE | _READ_FILE | _READ_DIR
"""Files can be read and executed, folders listed."""
WRITE = _OF_ABI_1 | _REFER | _TRUNCATE
"""All but what concerns devices."""
USE_DEVICE = _READ_FILE | _WRITE_FILE | _READ_DIR | _IOCTL_DEVICE

TCP_SINCE, SCOPES_SINCE = 4, 6
_BIND_AND_CONNECT = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """What the kernel knows of Landlock; 0: nothing, or it is switched off."""
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def restrict(
    allowed: Iterable[tuple[Path, int]], *, known_abi: int, denies_tcp: bool = True
) -> None:
    """Take everything from the calling thread, and from what it will start, but what is allowed.

    The caller has set PR_SET_NO_NEW_PRIVS. Signals reach processes that are restricted alike, and
    no other process can be traced or its memory and environment read, not even by root.

    Args:
        allowed: paths with what may be done there and beneath; one that does not exist is skipped.
        known_abi: as of `abi`, at least 1.
        denies_tcp: takes TCP, too.

    Raises:
        OSError: the kernel refuses.
    """
    files = _OF_ABI_1 | sum(right for since, right in _SINCE.items() if known_abi >= since)
    tcp = _BIND_AND_CONNECT if denies_tcp and known_abi >= TCP_SINCE else 0
    scopes = _ABSTRACT_SOCKETS_AND_SIGNALS if known_abi >= SCOPES_SINCE else 0
    # What an older kernel does not know of this has to be zero.
    handled = struct.pack("=QQQ", files, tcp, scopes)
    ruleset = _call(_CREATE_RULESET, handled, len(handled), 0)
    try:
        for path, rights in allowed:
            _allow(ruleset, path, rights & files)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # nothing to be allowed there
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: bytes | int | None) -> int:
    words = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock, system call {number}: {os.strerror(error)}")
    return result
