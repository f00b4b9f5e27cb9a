"""Intake of uploads: what is written is what NumPy holds, what cannot be is refused in words."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file

from app.shared.processes import dying_with_us
from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.process import take_in

LIMIT = 10**9


def arrays(n_train=40, n_test=20, shape=(8, 6, 3), n_classes=4, **changes):
    """Make the arrays of a small data set; `changes` replaces or, with None, drops some."""
    generator = np.random.default_rng(1)
    made = {
        "x_train": generator.integers(0, 256, (n_train, *shape), np.uint8),
        "y_train": np.arange(n_train) % n_classes,
        "x_test": generator.integers(0, 256, (n_test, *shape), np.uint8),
        "y_test": np.arange(n_test) % n_classes,
    } | changes
    return {key: value for key, value in made.items() if value is not None}


def take(folder, values, *, compressed=True):
    """Save the arrays and take them in."""
    path = folder / "upload.npz"
    (np.savez_compressed if compressed else np.savez)(path, **values)
    return take_in(path, folder, LIMIT)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3)])
def test_tensors_are_the_arrays_channels_first(tmp_path, shape, order):
    """Images and labels come back bit for bit, as (N, C, H, W), from either memory order."""
    values = arrays(shape=shape)
    values["x_train"] = np.asarray(values["x_train"], order=order)
    result = take(tmp_path, values)
    for part, path in (("train", result.train_path), ("test", result.test_path)):
        written = load_file(path)
        images = values[f"x_{part}"].reshape(
            -1, 8, 6, 3 if len(shape) == 3 and shape[2] == 3 else 1
        )
        assert written["images"].dtype == np.uint8
        assert np.array_equal(written["images"], images.transpose(0, 3, 1, 2))
        assert written["labels"].dtype == np.int64
        assert np.array_equal(written["labels"], values[f"y_{part}"])


def test_more_images_than_a_chunk_are_read_in_order(tmp_path):
    """A file of several chunks is put together in the order it had."""
    values = arrays(n_train=700, shape=(128, 64))
    assert values["x_train"].nbytes > 4 * 2**20
    result = take(tmp_path, values, compressed=False)
    assert np.array_equal(load_file(result.train_path)["images"][:, 0], values["x_train"])


def test_facts_are_those_numpy_finds(tmp_path):
    """Mean and deviation of each channel, counts and names are the arrays' own."""
    values = arrays(class_names=np.array(["ant", "bee ", "Äffchen", "<b>"]))
    facts = take(tmp_path, values).facts
    pixels = values["x_train"].astype(np.float64) / 255
    assert facts.mean == pytest.approx(pixels.mean((0, 1, 2)), rel=1e-12)
    assert facts.std == pytest.approx(pixels.std((0, 1, 2)), rel=1e-12)
    assert facts.class_names == ("ant", "bee", "Äffchen", "<b>")
    assert facts.image_shape == (3, 8, 6)
    assert facts.train_class_counts == (10, 10, 10, 10)
    assert facts.test_class_counts == (5, 5, 5, 5)


@pytest.mark.parametrize("dtype", ["u1", "<i4", ">i8", "<u8"])
def test_any_integer_labels_are_read_and_named_by_number(tmp_path, dtype):
    """Labels of any integer dtype and byte order become int64; without names they are numbered."""
    values = arrays()
    values["y_train"] = values["y_train"].astype(dtype)
    result = take(tmp_path, values)
    assert np.array_equal(load_file(result.train_path)["labels"], np.arange(40) % 4)
    assert result.facts.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.arange(40) % 4 - 1}, r"y_train: wanted labels 0 to 999; got -1 to 2"),
        ({"y_train": np.full(40, 1000)}, "got 1000 to 1000"),
        ({"y_train": np.full(40, 2**64 - 1, np.uint64)}, "got 18446744073709551615"),
        ({"y_test": np.full(20, 4)}, "y_test: wanted labels 0 to 3, as there are 4 classes; got 4"),
        ({"y_train": np.zeros(40, int)}, "at least 2 classes"),
        (
            {"y_train": np.arange(40) % 2 * 2, "y_test": np.zeros(20, int)},
            r"train: .*at least 2 images.*got 0 of '1' .*\(number the classes without gaps\)",
        ),
        (
            {"y_train": np.arange(40).clip(0, 1), "y_test": np.zeros(20, int)},
            r"got 1 of '0'",
        ),
        ({"class_names": np.array(["a", "b"])}, "wanted labels 0 to 1, as there are 2 classes"),
        ({"class_names": np.array(list("abcde"))}, r"got 0 of 'e'"),
        ({"class_names": np.array(["a", "b", "c\n", "d"])}, r"class_names\[2\]: wanted no control"),
        ({"class_names": np.array(["a", "b", "\u202ec", "d"])}, "no control or format"),
        ({"class_names": np.array(["a", "b", "  ", "d"])}, r"1 to 64 characters; got 0"),
        ({"class_names": np.array(["a", "b", "c" * 65, "d"])}, "1 to 64 characters; got 65"),
        ({"class_names": np.array(["a", "b", "c", "a "])}, "distinct names; got 'a' twice"),
    ],
)
def test_content_that_cannot_be_used_is_refused(tmp_path, changes, message):
    """Labels, names and pixels that only decoding can tell are refused in words."""
    with pytest.raises(InvalidDataError, match=message):
        take(tmp_path, arrays(**changes))


def test_code_points_beyond_unicode_are_refused(tmp_path):
    """A text array may hold numbers that no character has; they are refused, not shown."""
    names = np.array([0x110000] * 4, np.uint32).view("U1")
    with pytest.raises(InvalidDataError, match=r"class_names\[0\].*no character"):
        take(tmp_path, arrays(class_names=names))


def test_damaged_data_are_refused(tmp_path):
    """A flipped bit in the images is caught by the zip's own checksum."""
    path = tmp_path / "upload.npz"
    np.savez(path, **arrays())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("x_train.npy").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 1_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidDataError, match=r"wanted data that decode whole.*CRC"):
        take_in(path, tmp_path, LIMIT)


# SIGTERM comes while a line of the log is written.
STOPPED_WHILE_IT_LOGS = """
import os, signal, sys
from ddcal_core.intake import process

class Stopping:
    has_come = False

    def write(self, text):
        if "intake, numpy" in text and not self.has_come:
            self.has_come = True
            os.kill(os.getpid(), signal.SIGTERM)
        return sys.__stderr__.write(text)

    def flush(self):
        sys.__stderr__.flush()

sys.stderr = Stopping()
sys.exit(process.main())
"""


def start_intake(*program, memory_bytes=0):
    """Start the intake process as a supervisor does; or another program that becomes one."""
    argv = [sys.executable, *(program or ("-m", "ddcal_core.intake.process"))]
    return subprocess.Popen(
        dying_with_us(argv, death_signal=signal.SIGKILL, memory_bytes=memory_bytes),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )


def job_line(folder, more=None):
    """The job line for the upload in a folder; `more` goes into its inputs."""
    job = {
        "kind": "intake",
        "job_id": "job_x",
        "params": {},
        "inputs": {
            "upload_path": str(folder / "upload.npz"),
            "max_decoded_bytes": LIMIT,
            **(more or {}),
        },
        "work_folder": str(folder),
        "log_file": str(folder / "log.txt"),
        "threads": 1,
    }
    return json.dumps(job).encode() + b"\n"


def run_process(folder, *program, more=None, **limits):
    """Run the upload in a folder through the process; give its exit status and its messages."""
    with start_intake(*program, **limits) as process:
        out, _ = process.communicate(job_line(folder, more), timeout=120)
    return process.returncode, [json.loads(line) for line in out.splitlines()]


def run_intake(folder, values, **limits):
    """Run one .npz of these arrays through the process."""
    np.savez(folder / "upload.npz", **values)
    return run_process(folder, **limits)


def test_the_process_speaks_the_protocol(tmp_path):
    """Ready, then one data set with its facts and files; the log tells of it."""
    status, messages = run_intake(tmp_path, arrays())
    assert status == 0
    assert [message["type"] for message in messages] == ["ready", "outputs"]
    (output,) = messages[1]["outputs"]
    assert output["resource"] == "dataset"
    assert output["values"]["facts"]["image_shape"] == [3, 8, 6]
    assert [file["name"] for file in output["files"]] == [
        "train.safetensors",
        "test.safetensors",
        "samples.png",
    ]
    assert "taken in after" in (tmp_path / "log.txt").read_text()


def test_a_refused_file_is_a_rejected_message(tmp_path):
    """What cannot be used ends as `rejected` with its problem, and a clean exit."""
    status, messages = run_intake(tmp_path, arrays(y_train=np.zeros(40, int)))
    assert status == 0
    assert messages[1]["type"] == "rejected"
    assert "at least 2 classes" in messages[1]["problem"]["detail"]


def test_too_little_memory_is_said(tmp_path):
    """Under a memory limit the process fails in words instead of dying."""
    x_train = np.zeros((20_000, 128, 64), np.uint8, order="F")
    x_train[0] = 1
    values = arrays(
        x_train=x_train, y_train=np.arange(20_000) % 4, x_test=np.zeros((20, 128, 64), np.uint8)
    )
    n_bytes = 400 * 2**20
    status, messages = run_intake(
        tmp_path,
        values,
        memory_bytes=n_bytes,
    )
    assert (status, messages[-1]["type"]) == (1, "failed")
    assert messages[-1]["error"]["type"] == "host_oom"


def test_a_closed_channel_ends_the_waiting_process():
    """With no job to come, the process goes quietly."""
    with start_intake() as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["ready"]


def test_a_stop_before_the_job_ends_the_process():
    """A waiting intake dies of SIGTERM like any other process."""
    with start_intake() as process:
        assert json.loads(process.stdout.readline()) == {"type": "ready"}
        process.terminate()
        assert process.wait(timeout=120) == -signal.SIGTERM


def test_a_stop_ends_a_running_intake(tmp_path):
    """SIGTERM in mid-job is answered by `stopped` and exit 0."""
    # A pipe that nobody writes to keeps the process reading for as long as it takes.
    os.mkfifo(tmp_path / "upload.npz")
    log = tmp_path / "log.txt"
    with start_intake() as process:
        process.stdin.write(job_line(tmp_path))
        process.stdin.flush()
        deadline = time.monotonic() + 120
        while not (log.exists() and "intake, numpy" in log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1]) == {"type": "stopped"}


def test_a_stop_while_a_line_is_logged_is_heeded_too(tmp_path):
    """Logging swallows every Exception that is raised meanwhile."""
    np.savez(tmp_path / "upload.npz", **arrays())
    status, messages = run_process(tmp_path, "-c", STOPPED_WHILE_IT_LOGS)
    assert (status, messages[-1]) == (0, {"type": "stopped"})


def test_intake_never_loads_torch():
    """The intake process stays light: no torch behind its imports."""
    code = "import sys, ddcal_core.intake.process; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_test_arrays_that_are_trained_on_are_refused_or_told(tmp_path):
    """In any order: all of them is an error, a share stands in the facts."""
    values = arrays()
    order = np.random.default_rng(1).permutation(40)
    shuffled = {"x_test": values["x_train"][order], "y_test": values["y_train"][order]}
    with pytest.raises(InvalidDataError, match="every one of the 40 test images is also a train"):
        take(tmp_path, values | shuffled)
    values["x_test"][:5] = values["x_train"][10:15]
    facts = take(tmp_path, values).facts
    assert facts.n_test_in_train == 5
    assert "5 of the 20 test images (25.0 %)" in facts.notes[0]


def test_a_class_without_a_test_image_is_named(tmp_path):
    """It is taken, and told: nothing that is measured can say anything of it."""
    values = arrays()
    assert take(tmp_path, values).facts.notes == ()
    facts = take(tmp_path, values | {"y_test": np.arange(20) % 2}).facts
    assert facts.test_class_counts == (10, 10, 0, 0)
    (note,) = facts.notes
    assert note.startswith("No test image is of class '2', '3': no number")


@pytest.mark.parametrize("names", [None, ("a", "b", "c", "d")])
def test_labels_that_count_from_one_are_taken_and_told(tmp_path, names):
    """Without names, classes are called by the numbers that were sent."""
    values = arrays()
    values |= {key: values[key] + 1 for key in ("y_train", "y_test")}
    if names is not None:
        values["class_names"] = np.array(names)
    result = take(tmp_path, values)
    assert np.array_equal(load_file(result.train_path)["labels"], values["y_train"] - 1)
    assert result.facts.class_names == (names or ("1", "2", "3", "4"))
    assert "Labels are counted from 1, to 4." in result.facts.recognised


def test_a_constant_channel_is_taken_and_told(tmp_path):
    """Networks read zeros there; the others are as they are."""
    values = arrays()
    values["x_train"][..., 1] = 7
    facts = take(tmp_path, values).facts
    assert facts.std[1] == 1.0
    assert facts.mean[1] == pytest.approx(7 / 255)
    assert facts.std[0] == pytest.approx(values["x_train"][..., 0].std() / 255)
    assert "every pixel of channel 1 is 7" in facts.notes[0]
