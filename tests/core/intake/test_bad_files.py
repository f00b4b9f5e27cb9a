"""The matrix of bad uploads: each refused by name, in bounded memory, with nothing left behind."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.shared.processes import dying_with_us
from ddcal_core.intake.process import take_in
from tests.core.intake.bad_files import FAULTS, MATRIX, NOT_POSSIBLE, arrow, extension

CELLS = [(name, fault) for name, faults in MATRIX.items() for fault in faults]
MEMORY_BYTES, MOST_BYTES = 1_536 * 2**20, 900 * 2**20
# One process takes them all in, as each upload's own process would, and says what came of each.
PROGRAM = r"""
import json, re, sys
from pathlib import Path
from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.process import take_in

for line in sys.stdin:
    upload = Path(line.strip())
    folder = upload.parent / f"{upload.name}-taken"
    folder.mkdir()
    try:
        take_in(upload, folder, 100_000_000)
        said = "taken"
    except InvalidDataError as error:
        said = str(error)
    left = sorted(path.name for path in folder.iterdir())
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps([upload.name, said, left, int(peak) * 1024]), flush=True)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What came of each cell: words, files left, and most memory until then."""
    folder = tmp_path_factory.mktemp("bad")
    for k, (name, fault) in enumerate(CELLS):
        (folder / str(k)).write_bytes(MATRIX[name][fault][0]())
    argv = dying_with_us(
        [sys.executable, "-c", PROGRAM], death_signal=signal.SIGKILL, memory_bytes=MEMORY_BYTES
    )
    lines = "".join(f"{folder / str(k)}\n" for k in range(len(CELLS)))
    ran = subprocess.run(argv, input=lines, capture_output=True, text=True, check=False)
    found = {}
    for line in ran.stdout.splitlines():
        k, *answer = json.loads(line)
        found[CELLS[int(k)]] = answer
    assert len(found) == len(CELLS), f"ended at {CELLS[len(found)]}: {ran.stderr[-2_000:]}"
    return found


@pytest.mark.long
@pytest.mark.parametrize(("name", "fault"), CELLS)
def test_a_bad_file_is_refused_in_words(answers, name, fault):
    """By what is wrong with it, naming the file or column; nothing but whole tensors stays."""
    said, left, peak = answers[name, fault]
    assert re.search(MATRIX[name][fault][1], said), said
    assert said.startswith("taken") == (said == "taken")
    assert set(left) <= {"train.safetensors", "test.safetensors", "samples.png"}
    assert peak < MOST_BYTES
    assert not Path("/tmp/ddcal-was-here").exists()


def test_every_fault_of_every_format_is_tried():
    """Or cannot be; prints how many of each."""
    formats = [name for name in MATRIX if " " not in name]
    missing = {
        (name, fault)
        for name in formats
        for fault in FAULTS
        if fault not in MATRIX[name] and (name, fault) not in NOT_POSSIBLE
    }
    assert not missing
    counts = {fault: sum(fault in faults for faults in MATRIX.values()) for fault in FAULTS}
    print(f"{len(CELLS)} bad files of {len(formats)} formats: {counts}")  # noqa: T201
    assert min(counts.values()) >= len(formats) - len(NOT_POSSIBLE)


def test_a_type_that_asks_to_be_unpickled_is_not(tmp_path):
    """Its numbers are read as numbers."""
    (tmp_path / "upload").write_bytes(arrow(table=extension()))
    assert take_in(tmp_path / "upload", tmp_path, 10**6).facts.class_names == ("0", "1")
    assert not Path("/tmp/ddcal-was-here").exists()
