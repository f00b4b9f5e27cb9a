"""A process confines itself to what one job needs; what runs in it later cannot undo it.

Files by Landlock, sockets by seccomp, both without privileges; of root's it keeps the one to read
files whatever their mode. What the system lacks is told, not hidden: see `lacking`.
"""

import ctypes
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ddcal_core.intake.sandbox import landlock, system_calls

MAX_OPEN_FILES = 1024
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
_CAP_DAC_OVERRIDE = 1 << 1
# Where libraries look for their own folders, which they are not to make elsewhere.
_FOLDER_VARIABLES = ("TMPDIR", "TORCHINDUCTOR_CACHE_DIR")
_ROOT = Path(__file__).resolve().parents[3]
_OURS = ("app", "ddcal_core", "worker")
_SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/nix/store", "/run/opengl-driver", "/sys"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"),
    *("/etc/nvidia", "/etc/OpenCL", "/etc/vulkan"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version"),
    *("/proc/devices", "/proc/modules", "/proc/filesystems", "/proc/driver"),
    *("/proc/sys/kernel", "/proc/sys/vm"),
)
_FOR_DOWNLOADS = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/run/systemd/resolve"),
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "shm", "dri")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Facilities:
    """What the system offers.

    Attributes:
        landlock_abi: see `landlock.abi`.
        has_filters: see `system_calls.can_filter`.
    """

    landlock_abi: int
    has_filters: bool


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one job needs.

    Attributes:
        folder: existing; of the job, for files of all kinds.
        readable: files and folders.
        writable: existing folders, beside `folder`.
        network: whether it fetches something.
        max_file_bytes: largest file it may write; None: as large as it likes.
    """

    folder: Path
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    network: bool = False
    max_file_bytes: int | None = None


def facilities() -> Facilities:
    """What this system offers."""
    if sys.platform != "linux":
        return Facilities(0, has_filters=False)
    return Facilities(landlock.abi(), has_filters=system_calls.can_filter())


def lacking(offered: Facilities) -> tuple[str, ...]:
    """From what jobs are not kept, in words, for want of a facility; empty where from all."""
    abi, has_filters = offered.landlock_abi, offered.has_filters
    found = []
    if not abi:
        found.append("files and processes of the same user (needs Landlock: Linux 5.13)")
    if not has_filters:
        tcp = " but TCP" if abi >= landlock.TCP_SINCE else ""
        found.append(f"the network{tcp} and local sockets (needs seccomp on x86-64 or ARM64)")
    if abi < landlock.SCOPES_SINCE:
        found.append("sending signals to processes of the same user (needs Landlock: Linux 6.12)")
    return tuple(found)


def confine(needs: Needs, offered: Facilities) -> tuple[str, ...]:
    """Confine this process; before it starts threads, which Landlock would leave out.

    Args:
        needs: of its job.
        offered: by the system.

    Returns:
        From what it is not kept, in words.

    Raises:
        OSError: a facility that is offered fails.
    """
    for variable in _FOLDER_VARIABLES:
        os.environ[variable] = str(needs.folder)
    tempfile.tempdir = None  # it is looked for anew
    _set_limits(needs.max_file_bytes)
    if sys.platform != "linux":
        return lacking(offered)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    left = [*lacking(offered)]
    if offered.landlock_abi:
        if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
            left.append("what threads do that were there before")
        landlock.restrict(
            _allowed(needs), known_abi=offered.landlock_abi, denies_tcp=not needs.network
        )
    _drop_privileges()
    if offered.has_filters:
        system_calls.refuse(sockets=not needs.network)
    return tuple(left)


def _allowed(needs: Needs) -> Iterator[tuple[Path, int]]:
    readable = (*needs.readable, *_python(), *map(Path, _SYSTEM))
    if needs.network:
        readable += tuple(map(Path, _FOR_DOWNLOADS))
    yield from ((path, landlock.READ) for path in readable)
    yield from ((path, landlock.WRITE) for path in (needs.folder, *needs.writable))
    yield from ((Path("/dev", name), landlock.USE_DEVICE) for name in _DEVICES)
    yield Path("/dev/shm"), landlock.WRITE  # noqa: S108  memory that processes of one job share
    yield from ((path, landlock.USE_DEVICE) for path in Path("/dev").glob("nvidia*"))


def _python() -> Iterator[Path]:
    """Where Python and libraries lie; of a checkout, where data may lie as well, our packages."""
    yield from map(Path, (sys.prefix, sys.base_prefix))
    yield from (_ROOT / name for name in _OURS)
    yield from (entry for entry in map(Path, sys.path) if entry not in {_ROOT, Path()})
    yield from map(Path, filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")))


def _set_limits(max_file_bytes: int | None) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    if max_file_bytes is not None:
        _lower(resource.RLIMIT_FSIZE, max_file_bytes)


def _lower(limit: int, wanted: int) -> None:
    _, most = resource.getrlimit(limit)
    value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(limit, (value, value))


def _drop_privileges() -> None:
    """Keep of root's capabilities, where there are any, the one to open files of all modes."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 of each
    if _libc.capget(header, held):
        raise OSError(ctypes.get_errno(), "the capabilities cannot be read")
    kept = (ctypes.c_uint32 * 6)(held[0] & _CAP_DAC_OVERRIDE, held[1] & _CAP_DAC_OVERRIDE)
    if _libc.capset(header, kept):
        raise OSError(ctypes.get_errno(), "the capabilities cannot be dropped")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option} failed")
