"""The one module that imports ONNX Runtime: on the CPU, with threads by our setting, unobserved.

Its wheels report to their maker from the moment they are imported, with a thread and a database in
the user's cache, unless a variable of the environment says otherwise.
"""

import os
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Only now can it be imported.
import onnxruntime

_ERRORS_ALONE = 3


def open_session(model: Path | bytes, *, n_threads: int) -> onnxruntime.InferenceSession:
    """Make a network ready to run.

    Args:
        model: an ONNX file, or what one holds; all of its numbers are inside.
        n_threads: of the CPU to compute with, this one among them.

    Raises:
        Exception: of ONNX Runtime's own many kinds, where it cannot run the network.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ALONE
    # The same numbers whatever else the machine does, and no thread that spins between batches.
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    held = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(held, options, providers=["CPUExecutionProvider"])
