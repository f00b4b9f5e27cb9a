"""How a supervisor starts its children: without settings, tied to it, the first to be killed."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from app.shared.processes import dying_with_us

# In an out-of-memory, the kernel kills the trainer rather than the worker or the database.
FIRST_TO_BE_KILLED = "1000"
# What libraries and the loader read, by the beginnings of names. What else the service has in its
# environment, such as keys and passwords, is not for a process that reads what strangers sent.
PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_", "TZ", "TMPDIR", "LD_", "PYTHON", "MALLOC_"),
    *("CUDA", "CUBLAS_", "CUDNN_", "NVIDIA_", "TORCH", "PYTORCH_", "OMP_", "MKL_", "OPENBLAS_"),
    *("KMP_", "GOMP_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
# NumPy's BLAS and Arrow's allocator start others as they are loaded: beside them no fork is safe,
# and Landlock leaves them out.
ONE_THREAD: Mapping[str, str] = MappingProxyType(
    {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
)

# glibc hands large tensors back to the system and takes them again in the next batch; up to half of
# the time goes by in page faults (`benchmarks.kept_memory`). Up to this much is kept, as long as a
# trainer lives. The environment of the service itself comes first.
KEPT_BYTES = 1 << 30
KEPT_MEMORY: Mapping[str, str] = MappingProxyType(
    {"MALLOC_MMAP_THRESHOLD_": str(KEPT_BYTES), "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES)}
)


def start_program(
    argv: Sequence[str],
    *,
    memory_bytes: int = 0,
    variables: Mapping[str, str] = NO_VARIABLES,
    stdin: int,
    stdout: int | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child; from the main thread, since it dies with the thread that starts it.

    Args:
        argv: the program and its arguments.
        memory_bytes: the most address space that it may take; 0 sets no limit.
        variables: of its environment, beside those of ours that are passed on.
        stdin: a file descriptor, or what subprocess has for one.
        stdout: likewise; ours, unless given.
        pass_fds: descriptors that it is to have under the same numbers.
    """
    # A trainer knows no database, broker or key.
    ours = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED_ON)}
    child = subprocess.Popen(
        dying_with_us(argv, death_signal=signal.SIGKILL, memory_bytes=memory_bytes),
        env={**KEPT_MEMORY, **ours, **variables},
        # Its children die with it, and a Ctrl-C at the terminal is for the service alone.
        start_new_session=True,
        stdin=stdin,
        stdout=stdout,
        pass_fds=pass_fds,
    )
    with contextlib.suppress(OSError):
        Path(f"/proc/{child.pid}/oom_score_adj").write_text(FIRST_TO_BE_KILLED)
    return child
