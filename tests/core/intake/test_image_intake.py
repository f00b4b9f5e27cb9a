"""Intake of image files: what is written is what Pillow and NumPy hold, in a stated order."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.process import take_in
from ddcal_core.progress import Progress
from ddcal_core.specs.uploads import ImageOptions
from tests.core.intake.test_process import run_process
from tests.image_files import (
    Member,
    class_folders,
    encoded,
    noise,
    one_level,
    zipped,
    zipped_by_hand,
)

LIMIT = 10**9


@pytest.fixture
def take(tmp_path):
    """Take in a zip of these members."""

    def take_members(members, compression=zipfile.ZIP_STORED, limit=LIMIT, report=None, **options):
        path = tmp_path / "upload.zip"
        path.write_bytes(members if isinstance(members, bytes) else zipped(members, compression))
        reports = [] if report is None else report
        return take_in(path, tmp_path, limit, ImageOptions(**options), reports.append)

    return take_members


def check(path, wanted, pixels_of):
    """A split's file holds these (label, name) pairs' pixels in this order."""
    written = load_file(path)
    assert written["labels"].dtype == np.int64
    assert written["labels"].tolist() == [label for label, _ in wanted]
    images = np.stack([np.atleast_3d(pixels_of[name]) for _, name in wanted])
    assert np.array_equal(written["images"], images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("shape", [(8, 9, 3), (28, 28)])
def test_folders_become_tensors(take, shape, compression):
    """Both splits bit for bit, by class, then by name; clutter is left out."""
    pixels = class_folders(("dog", "cat"), shape=shape)
    more = {"train/cat/.DS_Store": b"x", "__MACOSX/train/cat/._0.png": b"x"}
    result = take({**pixels, **more}, compression)
    for part, n, path in (("train", 3, result.train_path), ("test", 2, result.test_path)):
        wanted = [
            (label, f"{part}/{name}/{k}.png")
            for label, name in enumerate(("cat", "dog"))
            for k in range(n)
        ]
        check(path, wanted, pixels)
    assert result.facts.image_shape == (3, 8, 9) if len(shape) == 3 else (1, 28, 28)
    assert result.facts.class_names == ("cat", "dog")
    assert result.facts.train_class_counts == (3, 3)
    assert result.facts.test_class_counts == (2, 2)


def test_statistics_are_those_numpy_finds_on_the_training_images(take):
    """Mean and deviation of each channel, test images left out."""
    pixels = class_folders()
    facts = take(pixels).facts
    train = np.stack([one for name, one in pixels.items() if name.startswith("train")]) / 255
    assert facts.mean == pytest.approx(train.mean((0, 1, 2)), rel=1e-12)
    assert facts.std == pytest.approx(train.std((0, 1, 2)), rel=1e-12)


def test_more_images_than_a_chunk_are_read_in_order(take):
    """600 images, three chunks; the report counts them up to all."""
    pixels = class_folders(n_train=295, n_test=5, shape=(8, 8))
    reports = []
    result = take(pixels, report=reports)
    wanted = sorted(name for name in pixels if name.startswith("train"))
    check(result.train_path, [(int("dog" in name), name) for name in wanted], pixels)
    assert all(isinstance(one, Progress) for one in reports)
    assert (reports[-1].step, reports[-1].steps) == (600, 600)


def test_one_level_is_split(take):
    """Every image lands in one of the two files, with its own label."""
    pixels = one_level(shape=(8, 8))
    result = take(pixels, test_fraction=0.3, seed=5)
    assert result.facts.train_class_counts == (7, 7)
    assert result.facts.test_class_counts == (3, 3)
    labels = {image.tobytes(): int(name.startswith("dog")) for name, image in pixels.items()}
    found = {}
    for path in (result.train_path, result.test_path):
        written = load_file(path)
        found |= {
            image.tobytes(): int(label)
            for image, label in zip(written["images"], written["labels"], strict=True)
        }
    assert found == labels


def test_the_same_files_give_the_same_bytes_however_packed(take, tmp_path):
    """Order, compression and a folder around change nothing."""
    pixels = one_level()
    written = []
    for members in (
        pixels,
        dict(reversed(pixels.items())),
        {f"a/{k}": v for k, v in pixels.items()},
    ):
        for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            result = take(members, compression, seed=3)
            written.append((result.train_path.read_bytes(), result.test_path.read_bytes()))
    assert len(set(written)) == 1


def test_mixed_sizes_and_colours_are_brought_together_as_asked(take):
    """Each image by itself: its centre square, resampled; grey."""
    pixels = class_folders()
    pixels["train/cat/0.png"] = noise(50, 100, 70, 3)
    pixels["test/dog/1.png"] = noise(51, 12, 16)
    result = take(pixels, resize=16, colour="grey")
    assert result.facts.image_shape == (1, 16, 16)
    image = Image.fromarray(pixels["train/cat/0.png"]).convert("L").crop((0, 15, 70, 85))
    wanted = np.asarray(image.resize((16, 16), Image.Resampling.LANCZOS))
    assert np.array_equal(load_file(result.train_path)["images"][0, 0], wanted)
    assert load_file(result.test_path)["images"].shape == (4, 1, 16, 16)


def changed(**changes):
    """Good folders with some files changed; names with __ for slashes and without .png."""
    members = dict(class_folders())
    for name, content in changes.items():
        members[name.replace("__", "/") + ".png"] = content
    return members


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            changed(train__dog__1=noise(0, 8, 8, 3)),
            "^train/dog/1.png: wanted images of one size, or a side to resize to; got 8 x 8 where "
            "train/cat/0.png has 8 x 9$",
        ),
        (
            changed(test__cat__1=noise(0, 8, 9)),
            "^test/cat/1.png: wanted all images grey or all in colour, or one of them asked for; "
            "got grey where train/cat/0.png is colour$",
        ),
        (changed(train__cat__0=b"no image"), "^train/cat/0.png: wanted a PNG, JPEG, "),
        (changed(test__dog__0=b""), "^test/dog/0.png: wanted a PNG, JPEG"),
        (changed(train__cat__1=noise(0, 257, 257, 3)), "8 to 256 pixels a side"),
        (
            changed(train__cat__0=b"no", train__dog__1=b"no", test__dog__0=b"no"),
            "^train/cat/0.png: .*; train/dog/1.png: .*; test/dog/0.png: [^;]*; [^;]*$",
        ),
        (
            dict.fromkeys(class_folders(), b"no"),
            "^train/cat/0.png.*; train/dog/1.png: .*; no further image was looked at$",
        ),
    ],
)
def test_images_that_cannot_be_used_are_named(take, members, message):
    """With what was wanted and got, up to five of them."""
    with pytest.raises(InvalidDataError, match=message):
        take(members)


def test_fewer_than_five_bad_images_of_a_long_set_are_all_named(take):
    """Those of later chunks too."""
    members = class_folders(n_train=300, n_test=2, shape=(8, 8))
    bad = ["train/cat/7.png", "train/dog/299.png", "test/dog/1.png"]
    members |= dict.fromkeys(bad, b"no image")
    with pytest.raises(InvalidDataError) as refused:
        take(members)
    assert all(f"{name}: wanted" in str(refused.value) for name in bad)


def test_pixels_are_limited(take):
    """Their number is known once one image is open."""
    members = {name: np.full((8, 9, 3), k, np.uint8) for k, name in enumerate(class_folders())}
    assert take(members, limit=2_160)
    with pytest.raises(InvalidDataError, match="at most 2,159 bytes after decoding; got 2,160"):
        take(members, limit=2_159)


def test_a_member_that_is_not_what_the_directory_says_is_named(take):
    """The zip's own lies are told with the file's name."""
    members = [
        Member(name.encode(), encoded(pixels), crc=1 if name == "train/dog/2.png" else None)
        for name, pixels in class_folders().items()
    ]
    with pytest.raises(InvalidDataError, match=r"^train/dog/2.png: wanted bytes of the declared"):
        take(zipped_by_hand(members))


def run(folder, members, options=None, **limits):
    """Run a zip through the process; give its exit status and its messages."""
    (folder / "upload.npz").write_bytes(zipped(members))
    return run_process(folder, more={"options": options or {}}, **limits)


def test_the_process_speaks_the_protocol(tmp_path):
    """Progress, then one data set; the log counts what was done and passed over."""
    image = Image.fromarray(noise(0, 9, 8, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    members = {**class_folders(), "train/cat/0.png": encoded(image, exif=exif), "Thumbs.db": b"x"}
    status, messages = run(tmp_path, members, {"colour": "rgb"})
    assert status == 0
    assert [message["type"] for message in messages] == ["ready", "progress", "outputs"]
    assert (messages[1]["phase"], messages[1]["step"], messages[1]["steps"]) == ("decode", 10, 10)
    facts = messages[2]["outputs"][0]["values"]["facts"]
    assert facts["image_shape"] == [3, 8, 9]
    log = (tmp_path / "log.txt").read_text()
    assert "1 files passed over; done to images: 1 turned" in log


def test_a_refused_image_is_a_rejected_message(tmp_path):
    """With its name."""
    status, messages = run(tmp_path, changed(train__cat__0=b"text"))
    assert (status, messages[-1]["type"]) == (0, "rejected")
    assert messages[-1]["problem"]["detail"].startswith("train/cat/0.png: wanted")


@pytest.mark.long
def test_memory_does_not_grow_with_the_zip(tmp_path):
    """118 MB of pixels pass through a process that has 60 MB to spare."""
    data = encoded(noise(0, 64, 64, 3))
    members = {
        f"{part}/{name}/{k}.png": data
        for part, n in (("train", 4_800), ("test", 100))
        for name in ("cat", "dog")
        for k in range(n)
    }
    n_bytes = 230 * 2**20
    status, messages = run(
        tmp_path,
        members,
        memory_bytes=n_bytes,
    )
    assert (status, messages[-1]["type"]) == (0, "outputs"), json.dumps(messages[-1])
    assert (tmp_path / "train.safetensors").stat().st_size > 115_000_000


def some_are_test_images(members, n):
    """The first n training images of each class, as test images of other names and classes."""
    other = {"cat": "dog", "dog": "cat"}
    copies = {
        f"test/{other[name]}/copy-{k}.png": members[f"train/{name}/{k}.png"]
        for name in other
        for k in range(n)
    }
    return {**members, **copies}


def test_test_images_that_are_trained_on_are_found_by_their_pixels(take):
    """A share is counted and told, whatever names and classes; none is silent; all is refused."""
    members = class_folders(n_train=6, n_test=2)
    facts = take(some_are_test_images(members, 3)).facts
    assert facts.n_test_in_train == 6
    assert "6 of the 10 test images (60.0 %) are also training images" in facts.notes[0]
    facts = take(members).facts
    assert (facts.n_test_in_train, facts.notes) == (0, ())
    trained = {name: pixels for name, pixels in members.items() if name.startswith("train/")}
    with pytest.raises(InvalidDataError, match="every one of the 12 test images is also a train"):
        take(some_are_test_images(trained, 6))


def test_copies_that_a_split_by_seed_parts_are_told(take):
    """Each file twice in one folder: about half of the test images have their copy trained on."""
    members = one_level(n=10)
    copies = {name.replace(".png", "-copy.png"): pixels for name, pixels in members.items()}
    taken = take({**members, **copies})
    facts = taken.facts
    train, test = load_file(taken.train_path), load_file(taken.test_path)
    known = {image.tobytes() for image in train["images"]}
    shared = sum(image.tobytes() in known for image in test["images"])
    assert facts.n_test_in_train == shared > 0


@pytest.mark.parametrize("damage", ["zeros", "noise"])
def test_what_the_decoder_warns_of_is_counted_and_named(take, damage):
    """JPEG data with a hole decode to something, and do not come out even."""
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    members = {
        f"{name}/{k}.jpg": encoded(
            np.stack([smooth, smooth.T, noise(k + 10 * (name == "dog"), 64, 64)], 2), "JPEG"
        )
        for name in ("cat", "dog")
        for k in range(4)
    }
    assert take(members).facts.notes == ()
    data = members["cat/2.jpg"]
    half = len(data) // 2
    hole = bytes(400) if damage == "zeros" else bytes(noise(9, 400) // 2)
    facts = take({**members, "cat/2.jpg": data[:half] + hole + data[half + 400 :]}).facts
    assert facts.train_class_counts == (3, 3)
    assert facts.notes[0].startswith("The decoder warned of 1 of 8 image files")
    assert "cat/2.jpg: Corrupt JPEG data" in facts.notes[0]
