"""ONNX Runtime in our processes: nothing is reported, no thread is started, nothing is left."""

import json
import os
import subprocess
import sys

LOOK = """
import json, os, time
from ddcal_core.formats.onnx_sessions import open_session
from tests.core.formats.onnx_made import linear, onnx_model
n_imported = len(os.listdir("/proc/self/task"))
session = open_session(onnx_model(linear()).SerializeToString(), n_threads=1)
time.sleep(0.5)
print(json.dumps([n_imported, len(os.listdir("/proc/self/task"))]))
"""


def test_it_reports_to_nobody(tmp_path):
    """As it is imported it would start a thread and write a database into the user's cache."""
    ours = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    # No other library starts threads, such as NumPy's BLAS and Arrow's allocator.
    ours |= {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    told = subprocess.run(
        [sys.executable, "-c", LOOK], env=ours, check=True, capture_output=True, text=True
    )
    assert json.loads(told.stdout) == [1, 1]
    assert list(tmp_path.iterdir()) == []
