"""Intake of logits: what is written is what NumPy holds, what cannot be is refused in words."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.logits_intake import take_in_logits
from ddcal_core.intake.structure.logits_structure import inspect_logits

LIMIT = 10**9
N, K = 40, 4
LABELS = np.arange(N) % K


def softmax(logits):
    """Rows of probabilities."""
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def arrays(**changes):
    """Logits and labels to fit on and to measure on; changes replace or, with None, drop some."""
    generator = np.random.default_rng(0)
    made = {
        "logits_fit": generator.normal(size=(N, K)).astype(np.float32) * 3,
        "labels_fit": LABELS,
        "logits_test": generator.normal(size=(20, K)).astype(np.float32) * 3,
        "labels_test": np.arange(20) % K,
    } | changes
    return {key: value for key, value in made.items() if value is not None}


FIT_ONLY = {"logits_test": None, "labels_test": None}


def save(folder, values):
    """Write arrays as NumPy does."""
    path = folder / "upload.npz"
    np.savez(path, **values)
    return path


def take(folder, values):
    """Save the arrays and take them in."""
    return take_in_logits(save(folder, values), folder, LIMIT)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_tensors_are_the_arrays(tmp_path, dtype, order):
    """Every number comes back bit for bit in its own width, from any byte and memory order."""
    values = arrays()
    for part in ("fit", "test"):
        logits = values[f"logits_{part}"]
        values[f"logits_{part}"] = np.asarray(logits, dtype=dtype, order=order)
    result = take(tmp_path, values)
    for part, path in zip(("fit", "test"), result.paths, strict=True):
        written = load_file(path)
        assert written["logits"].dtype == np.dtype(dtype).newbyteorder("=")
        assert np.array_equal(written["logits"], values[f"logits_{part}"])
        assert np.array_equal(written["labels"], values[f"labels_{part}"])
    assert result.facts.dtype == f"float{dtype[-1].replace('4', '32').replace('8', '64')}"


def test_more_rows_than_a_chunk_are_read_in_order(tmp_path):
    """A file of several chunks is put together in the order it had."""
    logits = np.random.default_rng(1).normal(size=(700, 1000))
    assert logits.nbytes > 4 * 2**20
    labels = np.arange(700) % 1000
    result = take(tmp_path, {"logits_fit": logits, "labels_fit": labels})
    assert np.array_equal(load_file(result.paths[0])["logits"], logits)


def test_parts_of_two_widths_become_the_wider(tmp_path):
    """No part loses a digit to the other."""
    values = arrays(logits_test=np.random.default_rng(2).normal(size=(20, K)))
    fit, test = (load_file(path)["logits"] for path in take(tmp_path, values).paths)
    assert fit.dtype == test.dtype == np.float64
    assert np.array_equal(test, values["logits_test"])


def test_facts_are_those_numpy_finds(tmp_path):
    """Counts and names, given or numbered."""
    names = np.array(["ant", "bee ", "<b>", "Äffchen"])
    facts = take(tmp_path, arrays(class_names=names)).facts
    assert facts.class_names == ("ant", "bee", "<b>", "Äffchen")
    assert facts.fit_class_counts == tuple(np.bincount(LABELS))
    assert (facts.n_fit, facts.n_test, facts.n_classes) == (N, 20, K)
    facts = take(tmp_path, arrays(**FIT_ONLY)).facts
    assert facts.class_names == ("0", "1", "2", "3")
    assert (facts.n_test, facts.test_class_counts) == (0, ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits_fit": None}, "wanted the arrays logits_fit, labels_fit and optionally"),
        ({"extra": np.zeros(3)}, "got .*'extra.npy'"),
        ({"labels_test": None}, "wanted logits_test and labels_test, or neither; got logits_test"),
        ({"logits_fit": np.zeros((N, K), int)}, "logits_fit: wanted dtype float32 or float64"),
        ({"logits_fit": np.zeros((N, K), np.float16)}, "logits_fit.npy: .*got dtype '<f2'"),
        ({"logits_fit": np.zeros(N)}, r"logits_fit: wanted one row of K numbers.*got \(40,\)"),
        ({"logits_fit": np.zeros((0, K)), "labels_fit": LABELS[:0]}, "at least 2 rows; got 0"),
        ({"logits_fit": np.zeros((1, K)), "labels_fit": LABELS[:1]}, "at least 2 rows; got 1"),
        ({"logits_fit": np.zeros((N, 1))}, "wanted 2 to 1000 columns, one a class; got 1"),
        ({"logits_fit": np.zeros((N, 0))}, "wanted 2 to 1000 columns, one a class; got 0"),
        ({"logits_test": np.zeros((20, 3))}, "wanted 4 columns, as logits_fit has; got 3"),
        ({"labels_fit": LABELS[:-1]}, r"labels_fit: wanted one label a row, shape \(40,\); got"),
        ({"labels_fit": LABELS.astype(float)}, "labels_fit: wanted an integer dtype"),
        ({"labels_fit": np.eye(K)[LABELS].astype(int)}, r"labels_fit: wanted one label a row"),
        ({"class_names": np.array(["a", "b"])}, "wanted 4 names, one a column of the logits; got"),
        ({"logits_fit": np.array([object()] * N)}, "object arrays hold pickled code"),
    ],
)
def test_wrong_arrays_are_refused_unread(tmp_path, changes, message):
    """The headers alone tell, and the message says what was wanted and what was got."""
    with pytest.raises(InvalidDataError, match=message):
        inspect_logits(save(tmp_path, arrays(**changes)), LIMIT)


def with_number(value, row, column):
    """The fit logits with one number replaced."""
    logits = arrays()["logits_fit"].copy()
    logits[row, column] = value
    return logits


LOGITS = arrays()["logits_fit"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits_fit": with_number(np.nan, 7, 2)}, "finite numbers; got nan in row 7, column 2"),
        ({"logits_fit": with_number(-np.inf, 39, 0)}, "got -inf in row 39, column 0"),
        ({"labels_fit": LABELS - 1}, "labels_fit: wanted labels 0 to 3; got -1 to 2"),
        ({"labels_fit": LABELS + 1}, "labels_fit: wanted labels 0 to 3; got 1 to 4"),
        ({"labels_test": np.full(20, 2**63, np.uint64)}, "labels_test: wanted labels 0 to 3; got"),
        ({"labels_fit": np.full(N, 2)}, "of at least 2 classes; every one of the 40 is 2"),
        ({"labels_test": np.full(20, 1)}, "labels_test: .* every one of the 20 is 1"),
        ({"logits_fit": softmax(LOGITS)}, "logits_fit: wanted logits.*looks like probabilities"),
        (
            {"logits_fit": softmax(LOGITS).astype(np.float16).astype(np.float32)},
            "all of its 40 rows are in .* and sum to 1",
        ),
        ({"logits_test": softmax(LOGITS)[:20]}, "logits_test: wanted logits.*probabilities"),
        (
            {"logits_test": LOGITS, "labels_test": LABELS},
            "logits_test: wanted rows that nothing was fitted on; got the very rows",
        ),
        ({"class_names": np.array(["a", "b", "a ", "c"])}, "distinct names; got 'a' twice"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(tmp_path, changes, message):
    """What only decoding can tell, in words of wanted and got."""
    with pytest.raises(InvalidDataError, match=message):
        take(tmp_path, arrays(**changes))


@pytest.mark.parametrize(
    "logits",
    [
        np.log(softmax(LOGITS)),
        np.zeros((N, K)),
        np.ones((N, K)),
        np.eye(K, dtype=np.float32)[LABELS] * 9,
        LOGITS * 1e4,
        LOGITS * 1e-4,
        np.vstack([softmax(LOGITS[:-1]), LOGITS[-1:]]),
    ],
    ids=["log probabilities", "zeros", "ones", "all right", "large", "small", "one row of logits"],
)
def test_logits_that_a_fit_has_a_word_for_are_taken(tmp_path, logits):
    """Log probabilities, constants, perfect and odd scales are no faults of the file."""
    assert take(tmp_path, arrays(logits_fit=logits)).facts.n_fit == N


def test_the_process_takes_logits_where_it_is_told_to(tmp_path):
    """The same protocol as for images: one upload with its facts and its files."""
    save(tmp_path, arrays())
    inputs = {"upload_path": str(tmp_path / "upload.npz"), "max_decoded_bytes": LIMIT}
    job = {
        "kind": "intake", "job_id": "job_x", "params": {}, "work_folder": str(tmp_path),
        "inputs": inputs | {"content": "logits"}, "log_file": str(tmp_path / "log"), "threads": 1,
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "ddcal_core.intake.process"],
        input=json.dumps(job).encode() + b"\n",
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    ready, said = (json.loads(line) for line in ended.stdout.splitlines())
    assert (ready["type"], said["type"]) == ("ready", "outputs")
    (output,) = said["outputs"]
    assert output["values"]["facts"]["fit_class_counts"] == [10, 10, 10, 10]
    assert [file["name"] for file in output["files"]] == ["fit.safetensors", "test.safetensors"]
