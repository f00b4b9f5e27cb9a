"""Layouts of image files and arrays: however they are sent, the same tensors come out."""

import io
import struct
import zipfile
import zlib

import inflate64
import numpy as np
import pytest
from safetensors.numpy import load_file

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.process import take_in
from ddcal_core.specs.uploads import ImageOptions
from tests.image_files import (
    Member,
    class_folders,
    encoded,
    noise,
    one_level,
    zipped,
    zipped_by_hand,
)

LIMIT = 10**8


@pytest.fixture
def take(tmp_path):
    """Take in bytes, or a zip of members."""

    def take_one(content, **options):
        path = tmp_path / "upload"
        path.write_bytes(content if isinstance(content, bytes) else zipped(content))
        return take_in(path, tmp_path, LIMIT, ImageOptions(**options))

    return take_one


def tensors(taken):
    """Bytes of both files."""
    return taken.train_path.read_bytes(), taken.test_path.read_bytes()


def with_validation(word="val"):
    """Pixels in folders of three parts."""
    extra = {f"{word}/{name}/{k}.png": noise(90 + 9 * k + len(name), 8, 9, 3)
             for name in ("cat", "dog") for k in range(2)}  # fmt: skip
    return {**class_folders(), **extra}


@pytest.mark.parametrize("word", ["val", "Valid", "validation"])
def test_a_validation_folder_follows_the_training_images(take, word):
    """Under each of its names; told in the facts, left out of mean and deviation."""
    pixels = with_validation(word)
    taken = take(pixels)
    train = load_file(taken.train_path)
    wanted = [pixels[f"{part}/{name}/{k}.png"] for part, n in (("train", 3), (word, 2))
              for name in ("cat", "dog") for k in range(n)]  # fmt: skip
    assert np.array_equal(train["images"], np.stack(wanted).transpose(0, 3, 1, 2))
    assert train["labels"].tolist() == [0] * 3 + [1] * 3 + [0] * 2 + [1] * 2
    facts = taken.facts
    assert facts.train_class_counts == (3, 3)
    assert (facts.validation_class_counts, facts.n_own_validation) == ((2, 2), 4)
    assert facts.mean == pytest.approx(np.stack(wanted[:6]).mean((0, 1, 2)) / 255)
    assert word in facts.recognised[0]


def test_train_and_validation_alone_are_split_and_told(take):
    """Test images come out of training; validation stays whole."""
    pixels = {n: one for n, one in with_validation().items() if not n.startswith("test")}
    facts = take(pixels, test_fraction=0.3, seed=4).facts
    assert (facts.train_class_counts, facts.test_class_counts) == ((2, 2), (1, 1))
    assert facts.validation_class_counts == (2, 2)
    assert "There was no test part: 30 %" in facts.recognised[1]


def test_images_in_two_parts_are_told(take):
    """Validation images that are trained on, and test images that are validated on."""
    pixels = with_validation()
    pixels["val/cat/0.png"] = pixels["train/dog/1.png"]
    pixels["val/dog/1.png"] = pixels["test/cat/1.png"]
    notes = " ".join(take(pixels).facts.notes)
    assert "1 of the 4 validation images (25.0 %) are also training images" in notes
    assert "1 of the 4 test images (25.0 %) are also validation images" in notes


def test_validation_images_that_are_all_trained_on_are_refused(take):
    """A copy of training images validates nothing."""
    pixels = with_validation()
    for name in [one for one in pixels if one.startswith("val/")]:
        pixels[name] = pixels[name.replace("val/", "train/")]
    words = "every one of the 4 validation images is also a training image"
    with pytest.raises(InvalidDataError, match=words):
        take(pixels)


@pytest.mark.parametrize("names", [("Cat", "cat"), ("1", "01")])
def test_classes_that_may_be_meant_as_one_are_told(take, names):
    """They are taken as they are written."""
    images = {f"{name}/{k}.png": noise(10 * n + k, 8, 9, 3) for n, name in enumerate(names)
              for k in range(4)}  # fmt: skip
    facts = take(images).facts
    assert sorted(facts.class_names) == sorted(names)
    (note,) = facts.notes
    assert "are taken for two" in note
    assert not any("for two" in note for note in take(class_folders()).facts.notes)


def as_table(pixels, line, header, *, encoding="utf-8"):
    """The files in one folder with a table of labels beside it."""
    files, lines = {}, [header]
    for number, (name, one) in enumerate(pixels.items()):
        part, label, _ = name.split("/")
        files[f"images/{number:03}.png"] = one
        lines.append(line.format(n=f"{number:03}", label=label, part=part))
    return {**files, "labels.csv": "\n".join(lines).encode(encoding)}


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("filename,label,split", "{n}.png,{label},{part}"),
        ("id;Class;other;Set", "{n};{label};7;{part}"),
        ("\ufefffile_name\tcategory\tsubset", "images/{n}.png\t{label}\t{part}"),
        ('split,"label",image_path', '{part},"{label}",images\\{n}.png'),
    ],
)
def test_a_table_of_labels_says_what_folders_would(take, header, line):
    """Columns in any order, other separators, a BOM, names with and without folder and ending."""
    pixels = with_validation()
    plain = take(pixels)
    known = {image.tobytes(): int(label) for image, label in zip(
        *map(load_file(plain.train_path).get, ("images", "labels")), strict=True)}  # fmt: skip
    taken = take(as_table(pixels, line, header))
    train = load_file(taken.train_path)
    assert {
        i.tobytes(): int(k) for i, k in zip(train["images"], train["labels"], strict=True)
    } == known
    assert taken.facts.class_names == ("cat", "dog")
    assert taken.facts.validation_class_counts == (2, 2)
    assert taken.facts.mean == plain.facts.mean
    assert "labels.csv gives the files in the column" in taken.facts.recognised[0]


def test_a_column_of_labels_can_be_named(take):
    """Instead of the one that would be recognised; one that is not there is refused by name."""
    pixels = with_validation()
    table = as_table(pixels, "{n}.png,x,{label},{part}", "filename,label,Kind of animal,split")
    taken = take(table, label="kind of animal")
    assert taken.facts.class_names == ("cat", "dog")
    assert "labels in the column 'Kind of animal'" in taken.facts.recognised[0]
    with pytest.raises(
        InvalidDataError, match=r"one of labels \(such as 'colour'\); got 'filename'"
    ):
        take(table, label="colour")


def test_a_table_without_parts_is_split_by_seed(take):
    """And read in the code page that is named."""
    pixels = {f"x/{label}/{k}": noise(k, 8, 8) + (label == "Käfer") for k in range(6)
              for label in ("ant", "Käfer")}  # fmt: skip
    table = as_table(pixels, "{n}.png,{label}", "image,label", encoding="cp1252")
    taken = take(table, names="cp1252", seed=3)
    assert taken.facts.class_names == ("Käfer", "ant")
    assert taken.facts.test_class_counts == (1, 1)
    with pytest.raises(InvalidDataError, match=r"labels.csv: wanted text in UTF-8; .*names="):
        take(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("label", "word"), "a header with a column of files .*got 'file"),
        (lambda text: text.replace("003.png", "900.png"), r"line 5: .*got '900.png', which is not"),
        (lambda text: text.replace("003.png", "002.png"), r"line 5: wanted each file once"),
        (lambda text: text.rpartition("\n")[0], "a line for each image; 1 have none: 'images/013"),
        (lambda text: text.replace("train\n", "train,\n", 1), "line 2: wanted 3 cells; got 4"),
        (lambda text: text.replace(",val", ",holdout"), "wanted a part train, .*got 'holdout'"),
        (lambda text: text.replace("cat", "dog"), "2 to 1000 classes, in the table; got 1: 'dog'"),
        (lambda text: text + '\n"open', "labels.csv: "),
        (lambda text: text.replace("cat", "c" * 200_000), "labels.csv: .*limit"),
        (lambda _: "", "got no line|wanted a header"),
        (lambda text: text.replace("cat", "c\u202eat"), "line 2, label: wanted no control"),
        (lambda text: text.replace("000.png", "../../000.png"), "which is not in it"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(take, change, message):
    """By line; nothing is left out unseen."""
    members = as_table(with_validation(), "{n}.png,{label},{part}", "filename,label,split")
    table = change(members["labels.csv"].decode()).encode()
    with pytest.raises(InvalidDataError, match=message):
        take({**members, "labels.csv": table})
    with pytest.raises(
        InvalidDataError, match=r"one table of labels; got 'labels.csv', 'more.csv'"
    ):
        take({**members, "more.csv": b"x"})


@pytest.mark.parametrize("code_page", ["cp437", "cp932", "cp1252", "gbk"])
def test_names_in_a_code_page_are_read_when_it_is_named(take, code_page):
    """And the refusal without it names it."""
    word = {"cp437": "Äpfel", "cp932": "犬", "cp1252": "café", "gbk": "狗"}[code_page]
    pixels = one_level(("dog", word), shape=(8, 8))
    content = zipped_by_hand(
        [Member(name.encode(code_page), encoded(one)) for name, one in pixels.items()]
    )
    assert set(take(content, names=code_page).facts.class_names) == {"dog", word}
    with pytest.raises(InvalidDataError, match=f"'{word}/0.png' with names={code_page}"):
        take(content)
    # What is said to be UTF-8 is, whatever is named.
    flagged = [Member(name.encode(), encoded(one), flags=0x800) for name, one in pixels.items()]
    assert set(take(zipped_by_hand(flagged), names=code_page).facts.class_names) == {"dog", word}


def test_windows_zips_are_read(take):
    """Backslashes between folders; Deflate64, as Explorer packs large files."""
    pixels = one_level()
    members = [
        Member(name.replace("/", "\\").encode(), encoded(one)) for name, one in pixels.items()
    ]
    plain = tensors(take(pixels))
    assert tensors(take(zipped_by_hand(members))) == plain
    packed = []
    for name, one in pixels.items():
        data, deflater = encoded(one), inflate64.Deflater()
        body = deflater.deflate(data) + deflater.flush()
        packed.append(
            Member(name.encode(), body, method=9, n_bytes=len(data), crc=zlib.crc32(data))
        )
    assert tensors(take(zipped_by_hand(packed))) == plain
    packed[3].crc = 1
    with pytest.raises(InvalidDataError, match=r"cat/3.png: wanted bytes of the declared checksum"):
        take(zipped_by_hand(packed))
    packed[3].crc, packed[3].n_bytes = zlib.crc32(encoded(pixels["cat/3.png"])), 20
    with pytest.raises(InvalidDataError, match=r"cat/3.png: wanted 20 bytes as declared; got more"):
        take(zipped_by_hand(packed))


@pytest.mark.parametrize("name", ["👨\u200d👩\u200d👧", "می\u200cخواهم", "क्\u200dष"])
def test_joiners_belong_to_names(take, name):
    """Of families and of writings; two that differ in them alone are one to the eye."""
    assert name in take(one_level(("dog", name))).facts.class_names
    with pytest.raises(InvalidDataError, match=r"differ in .*joiners"):
        take(one_level((name, name.replace("\u200d", "").replace("\u200c", ""))))


@pytest.mark.parametrize("has_zip64", [False, True])
def test_a_zip_behind_something_else_is_read(take, has_zip64):
    """As programs that unpack themselves are: offsets do not count what is before."""
    pixels = one_level()
    members = [Member(name.encode(), encoded(one)) for name, one in pixels.items()]
    content = b"#!/bin/sh\n" * 100 + zipped_by_hand(members, has_zip64=has_zip64)
    assert tensors(take(content)) == tensors(take(pixels))
    assert tensors(take(b"x" + zipped(pixels))) == tensors(take(pixels))


def test_small_files_that_deflate_well_are_no_bombs(take):
    """An uncompressed picture of one colour; larger ones of that ratio are refused."""
    flat = {
        f"{name}/{k}.bmp": encoded(np.full((64, 64, 3), 9 * k + n, np.uint8), "BMP")
        for k in range(6)
        for n, name in enumerate(("cat", "dog"))
    }
    assert take(zipped(flat, zipfile.ZIP_DEFLATED)).facts.train_class_counts == (5, 5)
    large = {**flat, "cat/9.bmp": encoded(np.zeros((512, 512, 3), np.uint8), "BMP")}
    with pytest.raises(InvalidDataError, match=r"cat/9.bmp: wanted a compression ratio"):
        take(zipped(large, zipfile.ZIP_DEFLATED), resize=8)


def arrays(**changes):
    """Small arrays with a validation part, by MedMNIST's names."""
    made = {}
    for seed, (part, n) in enumerate((("train", 12), ("val", 6), ("test", 6))):
        made[f"{part}_images"] = noise(seed, n, 8, 10, 3)
        made[f"{part}_labels"] = np.arange(n) % 3
    return made | changes


def npz(values):
    """The bytes of a .npz."""
    buffer = io.BytesIO()
    np.savez(buffer, **values)
    return buffer.getvalue()


def of(values, kind, change):
    """The arrays of a kind, changed."""
    return {name: change(one) if name.endswith(kind) else one for name, one in values.items()}


NAMES = np.array(["ant", "bee", "cat"])
FORMS = {
    "labels (N, 1)": lambda v: of(v, "_labels", lambda one: one[:, None].astype(np.uint8)),
    "labels from 1": lambda v: of(v, "_labels", lambda one: one + 1),
    "labels as text": lambda v: of(v, "_labels", lambda one: NAMES[one]),
    "text (N, 1)": lambda v: of(v, "_labels", lambda one: NAMES[one][:, None]),
    "one-hot": lambda v: of(v, "_labels", lambda one: np.eye(3)[one]),
    "one-hot bool": lambda v: of(v, "_labels", lambda one: np.eye(3, dtype=bool)[one]),
    "NCHW": lambda v: of(v, "_images", lambda one: one.transpose(0, 3, 1, 2)),
    "NCHW in order": lambda v: of(v, "_images", lambda one: one.transpose(0, 3, 1, 2).copy()),
    "float32": lambda v: of(v, "_images", lambda one: (one / 255).astype(np.float32)),
    "float64 NCHW": lambda v: of(v, "_images", lambda one: one.transpose(0, 3, 1, 2) / 255),
    "float16": lambda v: of(v, "_images", lambda one: (one / 255).astype(np.float16)),
    "x and y": lambda v: {
        f"{name[0]}_{part}": one
        for name, (part, one) in zip(
            ["x", "y"] * 3, ((key.split("_")[0], one) for key, one in v.items()), strict=True
        )
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_any_form_make_the_same_tensors(take, form):
    """Bit for bit; what was recognised is told."""
    values = FORMS[form](arrays())
    taken, plain = take(npz(values)), take(npz(arrays()))
    assert tensors(taken) == tensors(plain)
    assert taken.facts.validation_class_counts == (2, 2, 2)
    told = " ".join(taken.facts.recognised)
    words = {"labels from 1": "counted from 1", "labels as text": "text: 3 names", "NCHW": "NCHW",
             "one-hot": "one-hot, of 3", "float32": "floating", "x and y": "x_val"}  # fmt: skip
    assert words.get(form, "Images in ") in told
    if "text" in form:
        assert taken.facts.class_names == ("ant", "bee", "cat")


def test_arrays_without_a_test_part_are_split_by_seed(take):
    """By class; every image in one part, each seed its own split, told in the facts."""
    values = {"images": noise(0, 40, 8, 8), "labels": np.arange(40) % 4}
    splits = set()
    for seed in (0, 1):
        taken = take(npz(values), test_fraction=0.3, seed=seed)
        assert taken.facts.test_class_counts == (3, 3, 3, 3)
        train, test = load_file(taken.train_path), load_file(taken.test_path)
        both = [image.tobytes() for part in (train, test) for image in part["images"]]
        assert sorted(both) == sorted(image.tobytes() for image in values["images"])
        assert f"30 % of each class became test images, by seed {seed}" in taken.facts.recognised[1]
        splits.add(test["images"].tobytes())
    assert len(splits) == 2


BAD = {
    "NaN": (lambda v: of(v, "_images", lambda one: np.where(one > 9, np.nan, 0.5)), "got nan to"),
    "to 255": (lambda v: of(v, "_images", lambda one: one.astype(float)), r"got 0 to 255 \(send"),
    "negative": (lambda v: of(v, "_images", lambda one: one / 127.5 - 1), r"\[0, 1\]; got -1 to 1"),
    "not one-hot": (
        lambda v: of(v, "_labels", lambda one: np.eye(3)[one] + np.eye(3)[0]), "wanted one-hot rows"
    ),
    "soft": (lambda v: of(v, "_labels", lambda one: np.full((len(one), 3), 1 / 3)), "one-hot rows"),
    "unknown text": (
        lambda v: v | {"test_labels": np.array(["eel"] * 6)} | {
            key: NAMES[v[key]] for key in ("train_labels", "val_labels")},
        "test labels: wanted the names of classes; got 'eel'",
    ),
    "class absent in val": (lambda v: v | {"val_labels": np.zeros(6, int)}, "validation: .*got 0"),
    "images alone": (lambda v: {"images": v["train_images"]}, "wanted the arrays images, labels"),
    "one class of text": (
        lambda v: of(v, "_labels", lambda one: np.full(len(one), "ant")), "every label is 'ant'"
    ),
    "empty text": (
        lambda v: of(v, "_labels", lambda one: np.array([""] * len(one))), "1 to 64 char|empty"
    ),
    "many names": (
        lambda v: v | {"train_images": noise(0, 1_200, 8, 10, 3),
                       "train_labels": np.arange(1_200).astype(str)}
        | {f"{p}_labels": v[f"{p}_labels"].astype(str) for p in ("val", "test")},
        "at most 1,000 classes; got 1,200",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_arrays_that_cannot_be_are_refused(take, fault):
    """In words."""
    change, message = BAD[fault]
    with pytest.raises(InvalidDataError, match=message):
        take(npz(change(arrays())))


def test_a_zip_of_zip64_counts_what_is_before_it_once(take):
    """A prefix that holds a zip's own marks does not mislead."""
    prefix = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)
    assert take(prefix + zipped(one_level())).facts.n_classes == 2
