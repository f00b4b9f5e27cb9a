"""The structure check of uploads, against files made by NumPy and zipfile themselves."""

import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.npz_headers import read_npy_header
from ddcal_core.intake.structure.npz_structure import inspect_npz

LIMIT = 10**9


def arrays(n_train=6, n_test=4, shape=(8, 8), **changes):
    """Make the arrays of a small data set; `changes` replaces or, with None, drops some."""
    generator = np.random.default_rng(0)
    made = {
        "x_train": generator.integers(0, 256, (n_train, *shape), np.uint8),
        "y_train": np.arange(n_train) % 2,
        "x_test": generator.integers(0, 256, (n_test, *shape), np.uint8),
        "y_test": np.arange(n_test) % 2,
    } | changes
    return {key: value for key, value in made.items() if value is not None}


def save(folder: Path, values, *, compressed=False) -> Path:
    """Write arrays as NumPy does."""
    path = folder / "data.npz"
    (np.savez_compressed if compressed else np.savez)(path, **values)
    return path


def npy_bytes(array) -> bytes:
    """One array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write_zip(path: Path, members, compression=zipfile.ZIP_STORED) -> Path:
    """Write a zip of (name, bytes), names repeated as given."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def npy_with_header(header: str, data: bytes = b"", version=(1, 0)) -> bytes:
    """A .npy whose header is the given text."""
    length = struct.pack("<H" if version == (1, 0) else "<L", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode("latin-1") + data


def members_of(values):
    """The zip members NumPy would write for these arrays."""
    return [(f"{key}.npy", npy_bytes(value)) for key, value in values.items()]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((8, 9), (1, 8, 9)),
        ((8, 9, 1), (1, 8, 9)),
        ((256, 4, 3), (3, 256, 4)),
        ((3, 8, 9), (3, 8, 9)),
        ((1, 8, 9), (1, 8, 9)),
    ],
)
def test_numpys_own_files_are_accepted(tmp_path, compressed, shape, image_shape):
    """What NumPy saves is read with the right shape, counts and size."""
    values = arrays(shape=shape, class_names=np.array(["a", "bb"]))
    structure = inspect_npz(save(tmp_path, values, compressed=compressed), LIMIT)
    assert structure.image_shape == image_shape
    assert (structure.n_images("train"), structure.n_images("test")) == (6, 4)
    assert structure.n_bytes == sum(len(npy_bytes(value)) for value in values.values())
    assert structure.headers["class_names"].shape == (2,)


def test_fortran_order_is_seen(tmp_path):
    """Column-major images are accepted and marked as such."""
    values = arrays()
    values["x_train"] = np.asfortranarray(values["x_train"])
    headers = inspect_npz(save(tmp_path, values), LIMIT).headers
    assert headers["x_train"].fortran_order
    assert not headers["x_test"].fortran_order


def test_format_version_two_is_read():
    """A version 2.0 header, with its four-byte length, gives shape and offset."""
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n"
    found = read_npy_header(io.BytesIO(npy_with_header(header, b"\0" * 6, version=(2, 0))))
    assert (found.shape, found.n_bytes, found.offset) == ((2, 3), 6, 12 + len(header))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((6, 8, 8))}, "one shape and type in x_train.*<f8 and .u1"),
        ({"x_train": np.zeros((6, 8, 8), np.complex64)}, "float32, float64 .*got dtype '<c8'"),
        ({"x_train": np.zeros((6, 8, 8), np.int8)}, "x_train: wanted dtype uint8"),
        ({"x_train": np.zeros((6, 8), np.uint8)}, r"x_train: wanted shape.*\(6, 8\)"),
        ({"x_train": np.zeros((6, 8, 8, 2), np.uint8)}, "x_train: wanted shape"),
        ({"x_train": np.zeros((6, 3, 8), np.uint8)}, "4 to 256 pixels a side; got 3 x 8"),
        ({"x_train": np.zeros((6, 8, 257), np.uint8)}, "got 8 x 257"),
        ({"x_train": np.zeros((0, 8, 8), np.uint8), "y_train": np.zeros(0, int)}, "at least one"),
        ({"x_test": np.zeros((4, 8, 9), np.uint8)}, "one shape and type in x_train and x_test"),
        ({"y_train": np.zeros(5, int)}, r"y_train: wanted one label an image.*\(6,\).*\(5,\)"),
        ({"y_test": np.zeros((4, 2, 1), int)}, "y_test: wanted one label an image"),
        ({"y_test": np.eye(2)[[0, 1, 0, 1]]}, "labels of one form.*numbers in y_train and one_hot"),
        ({"y_train": np.zeros(6)}, "y_train: wanted an integer dtype, text, or one-hot.*got '<f8'"),
        ({"y_train": np.zeros(6, bool)}, "got dtype '|b1'"),
        ({"y_train": np.array(["a"] * 6)}, "labels of one form in all parts; got text in y_train"),
        ({"y_train": np.array(["a" * 1025] * 6)}, "y_train: wanted text of at most 1024"),
        ({"x_val": np.zeros((2, 8, 8), np.uint8)}, "wanted the arrays .*y_val"),
        ({"y_train": None}, "each once; got 'x_train.npy', 'x_test.npy', 'y_test.npy'"),
        ({"extra": np.zeros(3, int)}, "got .*'extra.npy'"),
        ({"class_names": np.array([b"a", b"b"])}, "got dtype '|S1'"),
        ({"class_names": np.array(["a"])}, "2 to 1000 names"),
        ({"class_names": np.array([["a", "b"]])}, "2 to 1000 names"),
        ({"class_names": np.array(["a" * 1025, "b"])}, "at most 1024 characters"),
        ({"x_train": np.array([object()] * 6)}, "object arrays hold pickled code"),
        ({"x_train": np.zeros((6, 1, 8, 8, 3), np.uint8)}, "at most 4 sizes"),
    ],
)
def test_wrong_arrays_are_refused_in_words(tmp_path, changes, message):
    """Each array that cannot be used is refused, saying what was wanted and what was got."""
    with pytest.raises(InvalidDataError, match=message):
        inspect_npz(save(tmp_path, arrays(**changes)), LIMIT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes that are no whole zip"),
        (b"hello" * 100, "500 bytes that are no whole zip"),
        (b"PK\x05\x06", "no whole zip"),
        (b"PK\x05\x06" + b"\xff" * 18, "its directory is"),
        (zlib.compress(b"hello" * 100), "no whole zip"),
    ],
)
def test_a_file_that_is_no_zip_is_refused(tmp_path, content, message):
    """Any other bytes are refused before anything is read as a zip."""
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(InvalidDataError, match=message):
        inspect_npz(path, LIMIT)


def test_names_outside_the_five_are_refused(tmp_path):
    """Paths, absolute names and doubles never get as far as their bytes."""
    good = members_of(arrays())
    for extra in ("../x_train.npy", "/etc/x.npy", "a/x_train.npy", "x_train"):
        path = write_zip(tmp_path / "data.npz", [*good, (extra, b"")])
        with pytest.raises(InvalidDataError, match="each once; got"):
            inspect_npz(path, LIMIT)
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write_zip(tmp_path / "twice.npz", [*good, good[0]])
    with pytest.raises(InvalidDataError, match="each once"):
        inspect_npz(path, LIMIT)


def test_a_zip_of_many_members_is_refused_by_its_directory(tmp_path):
    """A directory of thousands of entries is refused unread."""
    path = write_zip(tmp_path / "many.npz", [(f"{i}.npy", b"") for i in range(3000)])
    with pytest.raises(InvalidDataError, match="its directory is"):
        inspect_npz(path, LIMIT)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, compression):
    """Only stored and deflated members are read."""
    path = write_zip(tmp_path / "data.npz", members_of(arrays()), compression)
    with pytest.raises(InvalidDataError, match="wanted it stored or deflated"):
        inspect_npz(path, LIMIT)


def test_bombs_are_refused(tmp_path):
    """A ratio over 1000 and a total over the limit are both refused from the directory alone."""
    n_train = 200_000
    big = arrays(x_train=np.zeros((n_train, 8, 8), np.uint8), y_train=np.zeros(n_train, int))
    path = save(tmp_path, big, compressed=True)
    with pytest.raises(InvalidDataError, match="compression ratio of at most 1000"):
        inspect_npz(path, LIMIT)
    path = save(tmp_path, arrays())
    with pytest.raises(InvalidDataError, match="at most 1,000 bytes after decoding; got"):
        inspect_npz(path, 1_000)


def test_declared_and_real_size_have_to_agree(tmp_path):
    """A header that promises more or less than the member holds is refused."""
    for n_declared in (5, 7, 2**39):
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({n_declared}, 8, 8)}}"
        members = dict(members_of(arrays()))
        members["x_train.npy"] = npy_with_header(header, b"\0" * 6 * 64)
        path = write_zip(tmp_path / "data.npz", members.items())
        with pytest.raises(InvalidDataError, match=r"x_train\.npy: wanted [0-9,]+ bytes.*got"):
            inspect_npz(path, LIMIT)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "[1, 2]",
        "{'descr': '|u1', 'fortran_order': False}",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': [1]}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 3000 + ",)}",
        "__import__('os').system('true')",
        "(" * 4000,
        "-" * 4000 + "1",
        "{" * 90,
        "\0",
    ],
)
def test_strange_headers_are_refused(header):
    """No header text is run, and none brings the reader down."""
    with pytest.raises(InvalidDataError, match="wanted"):
        read_npy_header(io.BytesIO(npy_with_header(header)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "wanted a .npy file"),
        (b"\x93NUMP", "wanted a .npy file"),
        (b"\x80\x04K*." + b"\0" * 20, "wanted a .npy file"),
        (b"\x93NUMPY\x03\x00" + b"\0" * 20, "1.0 or 2.0; got 3.0"),
        (b"\x93NUMPY\x01\x00\x05", "ends before it"),
        (b"\x93NUMPY\x01\x00\x20\x00{}", "ends inside it"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{}", "at most 4,096 bytes"),
    ],
)
def test_broken_npy_starts_are_refused(data, message):
    """A stream that is no .npy, or only its beginning, is refused."""
    with pytest.raises(InvalidDataError, match=message):
        read_npy_header(io.BytesIO(data))


@pytest.mark.long
def test_flipped_bytes_raise_nothing_but_the_refusal(tmp_path):
    """However the bytes are damaged, the check answers or refuses: it never falls over."""
    original = save(tmp_path, arrays(class_names=np.array(["a", "b"])), compressed=True)
    content = original.read_bytes()
    directory = content.index(b"PK\x01\x02")
    dice = random.Random(0)
    n_refused = 0
    for trial in range(1_500):
        damaged = bytearray(content)
        start = directory if trial % 2 else 0
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(start, len(damaged))] = dice.randrange(256)
        if trial % 5 == 0:
            del damaged[dice.randrange(len(damaged)) :]
        original.write_bytes(damaged)
        try:
            inspect_npz(original, LIMIT)
        except InvalidDataError:
            n_refused += 1
    assert n_refused > 500


def test_small_arrays_that_deflate_a_thousandfold_are_no_bombs(tmp_path):
    """Labels of one class do, as 64-bit numbers."""
    values = arrays(n_train=400_000, shape=(4, 4), y_train=np.zeros(400_000, int))
    path = save(tmp_path, values, compressed=True)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("y_train.npy")
    assert info.file_size > 1_000 * info.compress_size
    assert inspect_npz(path, LIMIT).n_images("train") == 400_000
