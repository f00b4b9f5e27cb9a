"""Files of data sets as they are downloaded or saved, written by other libraries."""

import gzip
import io
import pickle
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from safetensors.numpy import load_file

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.process import take_in
from ddcal_core.specs.uploads import ImageOptions
from tests.core.intake.known_files_made import (
    CIFAR_NAMES,
    cifar,
    dataset_of,
    mat,
    mnist,
    tarred,
)
from tests.core.intake.test_process import run_process
from tests.image_files import class_folders, encoded, noise, one_level, zipped

LIMIT = 10**8


@pytest.fixture
def take(tmp_path):
    """Take in bytes."""

    def take_one(content, **options):
        path = tmp_path / "upload"
        path.write_bytes(content)
        return take_in(path, tmp_path, LIMIT, ImageOptions(**options))

    return take_one


def check(taken, images, labels, test_images, test_labels):
    """Both files hold these, in this order; images (N, H, W, C)."""
    for path, pixels, numbers in (
        (taken.train_path, images, labels),
        (taken.test_path, test_images, test_labels),
    ):
        written = load_file(path)
        assert np.array_equal(written["images"], pixels.transpose(0, 3, 1, 2))
        assert np.array_equal(written["labels"], numbers)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("key", [None, "fine_labels"])
def test_cifar_is_read_as_it_is_downloaded(take, protocol, key):
    """A tar.gz of pickles with arrays; a zip of them likewise; nothing is unpickled."""
    members, pixels, labels = cifar(protocol, key=key)
    for content in (tarred(members), tarred(members, "w"), zipped(members)):
        taken = take(content)
        check(taken, pixels[:20], labels[:20], pixels[20:], labels[20:])
        assert taken.facts.class_names == tuple(CIFAR_NAMES)
        assert "CIFAR-10" in taken.facts.recognised[0]


def python_2_batch(rows, labels):
    """A batch as Python 2's pickle has written the real files: by its instructions."""
    data = rows.tobytes()

    def text(word):
        return b"U" + bytes([len(word)]) + word

    kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    kind += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01K" + bytes([len(rows)]) + b"M\x00\x0c\x86" + kind + b"\x89T"
    state += struct.pack("<i", len(data)) + data + b"tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    )
    numbers = b"](" + b"".join(b"K" + bytes([one]) for one in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + state + text(b"labels") + numbers + b"u."


def test_the_pickles_of_python_2_are_followed(take):
    """Checked by unpickling the same bytes, which come from this test."""
    members, pixels, labels = cifar()
    rows = pixels.transpose(0, 3, 1, 2).reshape(30, -1)
    old = python_2_batch(rows[:10], labels[:10])
    assert np.array_equal(pickle.loads(old, encoding="latin1")["data"], rows[:10])
    members["cifar-10-batches-py/data_batch_1"] = old
    check(take(tarred(members)), pixels[:20], labels[:20], pixels[20:], labels[20:])


@pytest.mark.parametrize("folder", ["", "MNIST/raw/"])
@pytest.mark.parametrize("end", [".gz", ""])
def test_idx_files_are_read(take, folder, end):
    """Packed or not, in a zip or a tar."""
    members, images, labels = mnist(*((gzip.compress, end) if end else (bytes, end)))
    members = {folder + name: data for name, data in members.items()}
    for content in (zipped(members), tarred(members)):
        check(take(content), images[:20], labels[:20], images[20:], labels[20:])
    alone = {name: data for name, data in members.items() if "train" in name}
    taken = take(zipped(alone), test_fraction=0.25)
    assert sum(taken.facts.test_class_counts) == 6
    with pytest.raises(InvalidDataError, match=r"train: wanted a file of images and one of labels"):
        take(zipped({name: data for name, data in members.items() if "train-l" not in name}))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.int32])
def test_svhn_is_read_as_it_is_downloaded(take, compressed, dtype):
    """Label 10 is the digit 0; extra images are passed over; one file alone is split by seed."""
    images, labels = noise(2, 50, 32, 32, 3), np.arange(50) % 10
    written = np.where(labels == 0, 10, labels).astype(dtype)
    members = {
        "train_32x32.mat": mat(images[:30], written[:30], compressed=compressed),
        "test_32x32.mat": mat(images[30:], written[30:], compressed=compressed),
        "extra_32x32.mat": b"not looked at",
    }
    taken = take(zipped(members))
    check(taken, images[:30], labels[:30], images[30:], labels[30:])
    assert taken.facts.class_names == tuple("0123456789")
    assert "label 10 is the digit 0" in taken.facts.recognised[0]
    alone = take(members["train_32x32.mat"], seed=1)
    assert sum(alone.facts.test_class_counts) == 10


def files_in(folder):
    """Everything below a folder, by relative name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def parts():
    """Pixels of three parts, by Hugging Face's names of them."""
    return {
        part: {
            f"{part}/{name}/{k}": noise(100 * n + 9 * k + (name == "dog"), 9, 8, 3)
            for k in range(4 - n)
            for name in ("dog", "cat")
        }
        for n, part in enumerate(("train", "validation", "test"))
    }


@pytest.mark.parametrize("how", ["save_to_disk", "parquet", "parquet folders"])
def test_hugging_face_data_sets_are_read(take, tmp_path, parts, how):
    """Images and labels bit for bit, the classes by their names, validation as such."""
    held = datasets.DatasetDict({part: dataset_of(pixels) for part, pixels in parts.items()})
    folder = tmp_path / "saved"
    if how == "save_to_disk":
        held.save_to_disk(folder, num_shards={"train": 2, "validation": 1, "test": 1})
    else:
        for part, one in held.items():
            name = f"{part}-00000-of-00001" if how == "parquet" else f"{part}/0000"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            one.to_parquet(folder / f"{name}.parquet")
    for content in (zipped(files_in(folder)), tarred(files_in(folder))):
        taken = take(content)
        both = {**parts["train"], **parts["validation"]}
        labels = [int("dog" in name) for name in both]
        test = parts["test"]
        check(taken, np.stack([*both.values()]), labels, np.stack([*test.values()]),
              [int("dog" in name) for name in test])  # fmt: skip
        assert taken.facts.class_names == ("cat", "dog")
        assert taken.facts.validation_class_counts == (3, 3)
        assert "'image', labels in 'label'" in taken.facts.recognised[0]


def test_one_file_is_split_by_seed_and_brought_to_size(take, tmp_path, parts):
    """Parquet, an Arrow stream and an Arrow file alike; options of images apply."""
    one = dataset_of(parts["train"], datasets.Value("string"))
    one.to_parquet(tmp_path / "one.parquet")
    table = one.with_format("arrow")[:]
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    stream = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(stream, table.schema, options=options) as writer:
        writer.write_table(table)
    made = []
    for content in ((tmp_path / "one.parquet").read_bytes(), sink.getvalue(), stream.getvalue()):
        taken = take(content, resize=16, colour="grey", seed=2)
        assert taken.facts.image_shape == (1, 16, 16)
        assert taken.facts.class_names == ("cat", "dog")
        made.append((taken.train_path.read_bytes(), taken.test_path.read_bytes()))
    assert len(set(made)) == 1


@pytest.mark.parametrize("labels", ["integers", "dictionary", "fine and coarse"])
def test_columns_are_recognised_without_notes(take, parts, labels):
    """By type and name; plain bytes, labels as numbers or a dictionary; others are passed over."""
    pixels = parts["train"]
    files = [encoded(one) for one in pixels.values()]
    texts = [name.split("/")[1] for name in pixels]
    numbers = [int(text == "dog") for text in texts]
    columns = {"img": pa.array(files, pa.binary()), "note": pa.array(["x"] * len(files))}
    if labels == "integers":
        columns["label"] = pa.array(numbers, pa.int8())
    elif labels == "dictionary":
        columns["label"] = pa.array(texts).dictionary_encode()
    else:
        columns |= {"coarse_label": pa.array([0] * len(files)), "fine_label": pa.array(numbers)}
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), sink)
    taken = take(sink.getvalue())
    assert sum(taken.facts.train_class_counts) + sum(taken.facts.test_class_counts) == 8
    assert "passed over: 'note'" in taken.facts.recognised[0]
    assert len(taken.facts.class_names) == 2
    with pytest.raises(InvalidDataError, match=r"note2, of several|wanted a column of labels"):
        take(sink.getvalue(), label="note2")
    with pytest.raises(InvalidDataError, match=r"2 classes|at least 2 classes"):
        take(sink.getvalue(), label="note")
    with pytest.raises(InvalidDataError, match="img: wanted labels, integers or text; got binary"):
        take(sink.getvalue(), label="img")


def test_a_tar_of_class_folders_is_an_upload_too(take):
    """Of any of tar's formats; a folder around, and `./` before names."""
    pixels = class_folders()
    plain = take(zipped(pixels))
    wanted = plain.train_path.read_bytes(), plain.test_path.read_bytes()
    for how in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        members = {f"./mine/{name}": encoded(one) for name, one in pixels.items()}
        taken = take(tarred(members, format=how))
        assert (taken.train_path.read_bytes(), taken.test_path.read_bytes()) == wanted
    with pytest.raises(InvalidDataError, match="seed: wanted none, as it has a test part; got 3"):
        take(tarred({name: encoded(one) for name, one in pixels.items()}), seed=3)
    assert take(tarred({n: encoded(one) for n, one in one_level().items()}), seed=3)


def test_a_tar_is_read_to_its_end_or_not_at_all(take):
    """The library stops at a damaged header, and at the end mark of the first of several tars."""
    files = {name: encoded(one) for name, one in class_folders().items()}
    whole = tarred(files, "w")
    assert take(whole + bytes(10_240))
    with pytest.raises(InvalidDataError, match="more behind its end mark"):
        take(whole + tarred({"test/cat/9.png": files["test/cat/0.png"]}, "w"))
    with pytest.raises(InvalidDataError, match="more behind its end mark"):
        take(gzip.compress(whole) + gzip.compress(tarred({"a": b"b"}, "w")))
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        header = archive.getmembers()[-2].offset
    damaged = bytearray(whole)
    damaged[header + 150] ^= 1
    with pytest.raises(InvalidDataError, match=f"damaged header at byte {header:,}"):
        take(bytes(damaged))
    with pytest.raises(InvalidDataError, match="without its end mark"):
        take(whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512))


def test_a_zip_behind_another_is_refused(take):
    """Of two zips in one file readers see the last alone."""
    files = class_folders()
    train = zipped({name: one for name, one in files.items() if name.startswith("train")})
    with pytest.raises(InvalidDataError, match="got one behind another"):
        take(train + zipped(files))


@pytest.mark.parametrize("word", ["eval", "dev", "extra", "holdout"])
def test_no_file_becomes_training_images_for_want_of_a_word(take, tmp_path, parts, word):
    """Beside files whose names tell their part."""
    path = tmp_path / "held.parquet"
    dataset_of(parts["train"]).to_parquet(path)
    data = path.read_bytes()
    with pytest.raises(InvalidDataError, match=f"got '{word}-0.parquet' without one: rename"):
        take(zipped({"train-0.parquet": data, f"{word}-0.parquet": data}))
    assert take(zipped({f"{word}-0.parquet": data}))  # the only one: split by seed


def test_all_files_of_a_part_have_to_be_there(take, tmp_path, parts):
    """Where their names say how many there are."""
    name = "data/train-0000{}-of-00003-0a1b{}.parquet"
    files = {}
    for k, pixels in enumerate(parts.values()):
        dataset_of(pixels).to_parquet(tmp_path / "held.parquet")
        files[name.format(k, k)] = (tmp_path / "held.parquet").read_bytes()
    assert take(zipped(files)).facts.recognised
    del files[name.format(1, 1)]
    wanted = "wanted all 3 files data/train-…-of-00003; got 2, without number 00001"
    with pytest.raises(InvalidDataError, match=wanted):
        take(zipped(files))
    members, *_ = cifar()
    del members["cifar-10-batches-py/data_batch_1"]
    with pytest.raises(InvalidDataError, match="missing: 'data_batch_1'"):
        take(tarred(members))


def test_nothing_is_left_beside_the_tensors(take, tmp_path, parts):
    """What was unpacked or copied on the way is gone."""
    take(tarred(cifar()[0]))
    held = dataset_of(parts["train"])
    held.to_parquet(tmp_path / "one.parquet")
    take((tmp_path / "one.parquet").read_bytes())
    with pytest.raises(InvalidDataError):
        take(gzip.compress(b"no tar"))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"upload", "train.safetensors", "test.safetensors", "samples.png", "one.parquet"}


def test_a_deflated_zip_of_them_is_read(take):
    """As people pack them."""
    members, images, labels = mnist(bytes, "")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    check(take(buffer.getvalue()), images[:20], labels[:20], images[20:], labels[20:])


def saved(parts):
    """A data set as save_to_disk leaves it, packed."""
    with tempfile.TemporaryDirectory() as folder:
        held = {part: dataset_of(pixels) for part, pixels in parts.items()}
        datasets.DatasetDict(held).save_to_disk(folder)
        return tarred(files_in(Path(folder)))


def one_parquet(parts):
    """One file of rows."""
    sink = io.BytesIO()
    dataset_of(parts["train"]).to_parquet(sink)
    return sink.getvalue()


CONFINED = {
    "cifar": lambda _: tarred(cifar()[0]),
    "idx": lambda _: zipped(mnist()[0]),
    "svhn": lambda _: mat(noise(2, 50, 32, 32, 3), np.arange(50) % 10),
    "save_to_disk": saved,
    "parquet": one_parquet,
    "tar": lambda _: tarred({n: encoded(one) for n, one in class_folders().items()}),
    "webp": lambda _: zipped({n: encoded(one, "WEBP") for n, one in class_folders().items()}),
}


@pytest.mark.parametrize("layout", CONFINED)
def test_the_confined_process_reads_them(tmp_path, parts, layout):
    """Under its limits of memory, files and system calls; what it unpacked is gone."""
    (tmp_path / "upload.npz").write_bytes(CONFINED[layout](parts))
    status, messages = run_process(tmp_path, memory_bytes=4 * 2**30)
    assert (status, messages[-1]["type"]) == (0, "outputs"), messages[-1]
    facts = messages[-1]["outputs"][0]["values"]["facts"]
    assert facts["recognised"]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"upload.npz", "log.txt", "train.safetensors", "test.safetensors", "samples.png"}
