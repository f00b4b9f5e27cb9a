"""System calls that a process takes from itself: a filter of seccomp, see seccomp(2).

The filter is a classic BPF program of comparisons. It is of all threads, and of what they start.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from dataclasses import dataclass

_PR_SET_SECCOMP, _FILTER = 22, 2
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _GIVE = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_OLD_NUMBERS_END = 0x40000000  # x86-64 numbers every call twice
_KIND_OF_SOCKET = 0xF
_CLONE_THREAD = 0x00010000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class _Machine:
    """The numbers of one architecture.

    Attributes:
        architecture: as the kernel names it to a filter.
        seccomp: the call itself.
        sockets: what makes sockets, unseen or not.
        socketpair: harmless for streams; a pair of datagrams can be sent elsewhere.
        clone: makes threads, and processes.
        clone3: likewise, where no filter sees which; libraries do without it.
        others: what makes processes, reaches into others, or opens files without a path.
    """

    architecture: int
    seccomp: int
    sockets: tuple[int, ...]
    socketpair: int
    clone: int
    clone3: int
    others: tuple[int, ...]


# socket, io_uring_setup; ptrace, process_vm_readv, process_vm_writev, pidfd_getfd,
# open_by_handle_at; fork and vfork, where there are any
_MACHINES = {
    "x86_64": _Machine(
        architecture=0xC000003E,
        seccomp=317,
        sockets=(41, 425),
        socketpair=53,
        clone=56,
        clone3=435,
        others=(101, 310, 311, 438, 304, 57, 58),
    ),
    "aarch64": _Machine(
        architecture=0xC00000B7,
        seccomp=277,
        sockets=(198, 425),
        socketpair=199,
        clone=220,
        clone3=435,
        others=(117, 270, 271, 438, 265),
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def can_filter() -> bool:
    """Does this kernel take filters, and are the numbers of this machine known here?"""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    # Without a program the call fails for that alone where it is known.
    failed = _libc.prctl(_PR_SET_SECCOMP, _FILTER, None, 0, 0)
    return bool(failed) and ctypes.get_errno() == errno.EFAULT


def refuse(*, sockets: bool) -> None:
    """Have the kernel refuse calls from now on, with EPERM: this process has no children any more.

    The caller has set PR_SET_NO_NEW_PRIVS.

    Args:
        sockets: refuses to make any, of whatever family, too.

    Raises:
        OSError: the kernel refuses.
    """
    machine = _MACHINES[platform.machine()]
    code = _filter(machine, sockets=sockets)
    program = _Program(len(code) // 8, code)
    numbers = map(ctypes.c_long, (machine.seccomp, _SET_MODE_FILTER, _ALL_THREADS))
    if _libc.syscall(*numbers, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def _filter(machine: _Machine, *, sockets: bool) -> bytes:
    refused = machine.others + (machine.sockets if sockets else ())
    steps = [
        _does(_LOAD, _ARCHITECTURE_AT),
        _does(_IF_EQUAL, machine.architecture, then=1),
        _does(_GIVE, _REFUSE),
        _does(_LOAD, _NUMBER_AT),
        _does(_IF_AT_LEAST, _OLD_NUMBERS_END, otherwise=1),
        _does(_GIVE, _REFUSE),
    ]
    for number in refused:
        steps += [_does(_IF_EQUAL, number, otherwise=1), _does(_GIVE, _REFUSE)]
    steps += [_does(_IF_EQUAL, machine.clone3, otherwise=1), _does(_GIVE, _UNKNOWN)]
    steps += [
        _does(_IF_EQUAL, machine.clone, otherwise=5),
        _does(_LOAD, _FIRST_ARGUMENT_AT),
        _does(_AND, _CLONE_THREAD),
        _does(_IF_EQUAL, _CLONE_THREAD, then=1),
        _does(_GIVE, _REFUSE),
        _does(_GIVE, _ALLOW),
    ]
    if sockets:
        steps += [
            _does(_IF_EQUAL, machine.socketpair, otherwise=4),
            _does(_LOAD, _SECOND_ARGUMENT_AT),
            _does(_AND, _KIND_OF_SOCKET),
            _does(_IF_EQUAL, int(socket.SOCK_STREAM), then=1),
            _does(_GIVE, _REFUSE),
        ]
    return b"".join([*steps, _does(_GIVE, _ALLOW)])


def _does(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)
