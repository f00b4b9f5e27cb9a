"""Intake of logits: what is written is what NumPy holds, what cannot be is refused in words."""

import json
import random
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load_file

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.logits_intake import take_in_logits
from ddcal_core.intake.structure import npz_headers
from ddcal_core.intake.structure.logit_values import undeclared_values
from ddcal_core.intake.structure.logits_structure import inspect_logits
from ddcal_core.specs.logits import LogitsOptions

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


def take(folder, arrays_sent, *, values=None):
    """Save the arrays and take them in, declared or not."""
    options = LogitsOptions(values=values)
    return take_in_logits(save(folder, arrays_sent), folder, LIMIT, options)


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
        (
            {"logits_fit": np.zeros((N, K), int)},
            "logits_fit: wanted dtype float16, float32",
        ),
        ({"logits_fit": np.zeros((N, K), complex)}, "logits_fit.npy: .*got dtype '<c16'"),
        ({"logits_fit": np.zeros(N)}, r"logits_fit: wanted one row of K numbers.*got \(40,\)"),
        ({"logits_fit": np.zeros((0, K)), "labels_fit": LABELS[:0]}, "at least 2 rows; got 0"),
        ({"logits_fit": np.zeros((1, K)), "labels_fit": LABELS[:1]}, "at least 2 rows; got 1"),
        ({"logits_fit": np.zeros((N, 1))}, "wanted 2 to 1000 columns, one a class; got 1"),
        ({"logits_fit": np.zeros((N, 0))}, "wanted 2 to 1000 columns, one a class; got 0"),
        ({"logits_test": np.zeros((20, 3))}, "wanted 4 columns, as logits_fit has; got 3"),
        ({"labels_fit": LABELS[:-1]}, r"labels_fit: wanted one label a row, shape \(40,\) or"),
        ({"labels_fit": LABELS.astype(float)}, "labels_fit: wanted an integer dtype"),
        ({"labels_fit": np.eye(K)[LABELS].astype(int)}, r"got \(40, 4\).*\.argmax\(1\)"),
        ({"labels_fit": LABELS[:, None, None]}, r"got \(40, 1, 1\) \(send \.reshape\(-1\)"),
        ({"labels_fit": LABELS.astype(float)}, r"an integer dtype.*'<f8' \(send \.astype\(int\)"),
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
        ({"logits_fit": with_number(-np.inf, 39, 0)}, "got -inf in row 39, column 0 .*write -1e9"),
        ({"labels_fit": LABELS - 1}, "wanted labels 0 to 3; got -1 to 2 .leave out what is to be"),
        ({"labels_fit": LABELS + 1}, "labels_fit: wanted labels 0 to 3; got 1 to 4"),
        ({"labels_test": np.full(20, 2**63, np.uint64)}, "labels_test: wanted labels 0 to 3; got"),
        ({"labels_fit": np.full(N, 2)}, "of at least 2 classes; every one of the 40 is 2"),
        ({"labels_test": np.full(20, 1)}, "labels_test: .* every one of the 20 is 1"),
        ({"logits_fit": softmax(LOGITS)}, "logits_fit: wanted logits.*looks like probabilities"),
        (
            {"logits_fit": softmax(LOGITS).astype(np.float16).astype(np.float32)},
            "looks like probabilities .*sum to 1",
        ),
        ({"logits_test": softmax(LOGITS)[:20]}, "logits_test: wanted logits.*probabilities"),
        (
            {"logits_test": LOGITS, "labels_test": LABELS},
            "logits_test: wanted rows that nothing was fitted on; every one of its 40 rows",
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
        LOGITS.astype(float) + 1e6,
        np.abs(np.round(LOGITS)),
        LOGITS * 1e-4,
        np.vstack([softmax(LOGITS[:20]), LOGITS[20:]]),
        np.random.default_rng(3).uniform(0, 1, (N, K)),
        np.random.default_rng(4).uniform(0, 0.5, (N, K)),
        np.abs(LOGITS),
        np.where(LOGITS > 0, LOGITS, -1e30),
        np.where(LOGITS > 0, LOGITS, np.finfo(np.float32).min),
    ],
    ids=[
        *(
            "log probabilities",
            "zeros",
            "ones",
            "all right",
            "large",
            "shifted",
            "counts",
            "small",
            "half logits",
        ),
        *("in 0 to 1", "sums near 1", "no negative", "masked", "masked by finfo.min"),
    ],
)
def test_logits_that_a_fit_has_a_word_for_are_taken(tmp_path, logits):
    """Log probabilities, constants, perfect and odd scales are no faults of the file."""
    assert take(tmp_path, arrays(logits_fit=logits)).facts.n_fit == N


P = softmax(LOGITS)
DRESSES = {
    "plain": P,
    "half precision": P.astype(np.float16),
    "one decimal": P.round(1),
    "two decimals": P.round(2),
    "percent": 100 * P,
    "whole percent": (100 * P).round(),
    "per mille": 1000 * P,
    "an empty row": np.where(np.arange(N)[:, None] == 7, 0, P),
    "an odd row": np.where(np.arange(N)[:, None] == 7, LOGITS, P),
    "decided": np.eye(K)[P.argmax(1)],
    "bytes": (255 * P).round(),
    "votes of 37": 37 * P,
}
SURE = {"plain", "half precision", "decided"}


@pytest.mark.parametrize("dress", DRESSES)
def test_probabilities_in_any_dress_are_named(tmp_path, dress):
    """Undeclared they are refused; declared, their softmax is what was sent."""
    values = arrays(**FIT_ONLY, logits_fit=DRESSES[dress])
    with pytest.raises(InvalidDataError, match=r"add values=probabilities") as told:
        take(tmp_path, values)
    # What nothing but probabilities can be is not taken for logits when it is called so, either.
    assert ("or values=logits" in str(told.value)) == (dress not in SURE)
    if dress in SURE:
        with pytest.raises(InvalidDataError, match="looks like probabilities"):
            take(tmp_path, values, values="logits")
    else:
        assert take(tmp_path, values, values="logits").facts.values == "logits"
    with pytest.raises(InvalidDataError, match="add values=probabilities"):
        take(tmp_path, values | {"logits_fit": np.asfortranarray(DRESSES[dress])})
    if dress == "an odd row":
        with pytest.raises(InvalidDataError, match=r"wanted probabilities.*got -"):
            take(tmp_path, values, values="probabilities")
        return
    result = take(tmp_path, values, values="probabilities")
    assert result.facts.values == "probabilities"
    sent = DRESSES[dress].astype(float)
    sums = sent.sum(1, keepdims=True)
    wanted = np.where(sums > 0, sent / np.where(sums > 0, sums, 1), 1 / K)
    taken = softmax(load_file(result.paths[0])["logits"].astype(float))
    assert np.abs(taken - wanted).max() < 0.01
    assert [("All zeros" in note) for note in result.facts.notes] == [True] * (
        dress == "an empty row"
    )


@pytest.mark.parametrize("deviation", [3.0, 5.0])
def test_sigmoids_are_named_and_logits_in_their_range_are_not(tmp_path, deviation):
    """Outputs pressed against 0 and 1 are refused until declared, as either."""
    outputs = 1 / (1 + np.exp(-np.random.default_rng(5).normal(size=(N, K)) * deviation))
    values = arrays(**FIT_ONLY, logits_fit=outputs)
    with pytest.raises(InvalidDataError, match=r"looks like sigmoids.*values=probabilities"):
        take(tmp_path, values)
    for declared in ("logits", "probabilities"):
        assert take(tmp_path, values, values=declared).facts.n_fit == N
    with pytest.raises(InvalidDataError, match="reverse their sign"):
        take(tmp_path, arrays(**FIT_ONLY, logits_fit=-np.log(P)))


def test_a_zero_is_half_of_the_smallest_probability(tmp_path):
    """And at most 0.01 / K of its row, so that it takes nothing from what was sent."""
    sent = np.full((N, K), 0.25)
    sent[0] = [0.5, 0.5, 0, 0]
    sent[1] = [0.998, 0.001, 0.001, 0]
    logits = load_file(
        take(tmp_path, arrays(**FIT_ONLY, logits_fit=sent), values="probabilities").paths[0]
    )
    rows = np.exp(logits["logits"])
    assert rows[0] == pytest.approx([0.5, 0.5, 0.0005, 0.0005])
    assert rows[1] == pytest.approx([0.998, 0.001, 0.001, 0.0005])


def test_narrow_logits_columns_of_labels_and_bools_are_taken(tmp_path):
    """float16 becomes float32, (N, 1) a row, bool 0 and 1: the numbers stay the same."""
    half = LOGITS.astype(np.float16)
    result = take(tmp_path, arrays(**FIT_ONLY, logits_fit=half, labels_fit=LABELS[:, None]))
    written = load_file(result.paths[0])
    assert result.facts.dtype == "float32"
    assert np.array_equal(written["logits"], half.astype(np.float32))
    assert np.array_equal(written["labels"], LABELS)
    is_second = LABELS % 2 == 1
    result = take(tmp_path, arrays(**FIT_ONLY, logits_fit=LOGITS[:, :2], labels_fit=is_second))
    assert np.array_equal(load_file(result.paths[0])["labels"], is_second.astype(int))


def test_rows_fitted_on_are_found_in_any_order(tmp_path):
    """All: refused. Some: counted and told. By the rule of digests, beyond repeats."""
    shuffled = np.random.default_rng(6).permutation(N)
    everything = {"logits_test": LOGITS[shuffled], "labels_test": LABELS[shuffled]}
    for some in (everything, {key: values[:15] for key, values in everything.items()}):
        with pytest.raises(InvalidDataError, match="also stands in logits_fit, in whatever order"):
            take(tmp_path, arrays(**some))
    mixed = arrays()["logits_test"].copy()
    mixed[3:8] = LOGITS[20:25].astype(np.float64)
    facts = take(tmp_path, arrays(logits_test=mixed.astype(np.float64))).facts
    assert facts.n_test_in_fit == 5
    assert any("5 of the 20 rows of logits_test also stand in" in note for note in facts.notes)
    coarse = np.random.default_rng(7).integers(0, 2, (N + 20, K)).astype(np.float32)
    facts = take(tmp_path, arrays(logits_fit=coarse[:N], logits_test=coarse[N:])).facts
    assert facts.n_test_in_fit > 10
    assert any("may be chance" in note for note in facts.notes)
    facts = take(tmp_path, arrays()).facts
    assert (facts.n_test_in_fit, facts.notes) == (0, ())


def test_what_is_odd_about_labels_is_told_with_what_to_do(tmp_path):
    """Reversed sign, other order, other count, absent class; a poor network that guesses is not."""
    generator = np.random.default_rng(8)
    labels = generator.integers(0, K, 400)
    logits = generator.normal(size=(400, K)) + 4 * np.eye(K)[labels]

    def notes(own_logits, own_labels):
        values = {"logits_fit": own_logits, "labels_fit": own_labels}
        return " ".join(take(tmp_path, values).facts.notes)

    assert notes(logits, labels) == ""
    assert "sign is probably reversed" in notes(-logits, labels)
    assert "in different orders" in notes(logits[:, [1, 2, 3, 0]], labels)
    assert "bring labels and columns into one order" in notes(np.roll(logits, 1, axis=1), labels)
    assert "has no row of class '2'" in notes(logits, np.where(labels == 2, 3, labels))
    from_one = np.where(labels == 0, 1, labels)
    assert "If your labels count from 1" in notes(logits, from_one)
    guesses = generator.normal(size=(400, K))
    assert notes(guesses, labels) == ""
    # Right in two of three rows as trained: off by one column it is not far below guessing.
    weak = guesses + 2 * np.eye(K)[labels]
    order = np.array([1, 2, 3, 0])
    said = notes(np.where(np.arange(400)[:, None] % 4, weak[:, order], guesses), labels)
    assert "no better than the" in said or "far below the" in said
    assert "in different orders" in said
    exploded = logits.copy()
    exploded[7, (labels[7] + 1) % K] = 1e30
    exploded[9, labels[9]] = 1e30
    assert "In 1 of the 400 rows of logits_fit (row 7) the label's" in notes(exploded, labels)
    assert notes(1e30 * logits, labels) == ""
    with pytest.raises(InvalidDataError, match="look counted from 1"):
        notes(logits, labels + 1)


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


def test_flipped_bits_are_refused_or_taken(tmp_path):
    """Wherever a file was damaged on its way: in its headers, its data or its directory."""
    path = tmp_path / "upload.npz"
    # More than is read with a header, and no more than is looked at.
    logits = np.random.default_rng(0).normal(size=(900, K)).astype(np.float32)
    sent = {"logits_fit": logits, "labels_fit": np.arange(900) % K}
    np.savez_compressed(path, class_names=np.array(["a", "b", "c", "d"]), **sent)
    content, dice, n_refused = path.read_bytes(), random.Random(0), 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        try:
            take_in_logits(path, tmp_path, LIMIT)
        except InvalidDataError:
            n_refused += 1
    assert n_refused > 150


@pytest.mark.long
def test_whatever_numbers_there_are_they_are_looked_at(tmp_path):
    """Infinite, undefined and huge ones among probabilities in every dress."""
    dice = np.random.default_rng(0)
    odd = [np.inf, -np.inf, np.nan, 1e308, -1e308, 0.0, 1.0]
    for dress, rows in DRESSES.items():
        for trial in range(40):
            sent = np.array(rows, dtype=float)
            for row in dice.choice(N, size=1 + trial % 3, replace=False):
                sent[row] = dice.choice(odd, size=K)
            path = save(tmp_path, arrays(**FIT_ONLY, logits_fit=sent))
            detail = undeclared_values(path, inspect_logits(path, LIMIT))
            assert detail is None or "add values=probabilities" in detail, dress


def test_columns_are_looked_at_without_being_held(tmp_path):
    """A file of little size may decode to more than the memory of the API."""
    n = 2_000_000
    path = tmp_path / "upload.npz"
    zeros = np.zeros((n, 2), dtype="<f8", order="F")
    np.savez(path, logits_fit=zeros, labels_fit=np.zeros(n, dtype="u1"))
    structure = inspect_logits(path, LIMIT)
    tracemalloc.start()
    try:
        undeclared_values(path, structure)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20  # a column has 16 MB


def test_an_array_in_fortran_order_is_no_larger_than_memory_allows(tmp_path, monkeypatch):
    """Its first row is known when all of it has been read."""
    monkeypatch.setattr(npz_headers, "_MAX_FORTRAN_BYTES", N * K * 4 - 1)
    inspect_logits(save(tmp_path, arrays()), LIMIT)
    path = save(tmp_path, arrays(logits_fit=np.asfortranarray(arrays()["logits_fit"])))
    with pytest.raises(InvalidDataError, match=r"logits_fit.*in C order.*ascontiguousarray"):
        inspect_logits(path, LIMIT)
