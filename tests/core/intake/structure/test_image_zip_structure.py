"""What a zip of image files has to look like before any image is opened."""

import hashlib
import json

import pytest

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure import image_zip_structure
from ddcal_core.intake.structure.dataset_structure import inspect_dataset
from ddcal_core.specs.uploads import ImageOptions
from tests.image_files import zipped

LIMIT = 10**9
FOLDERS = [
    f"{part}/{name}/{k}.png"
    for part, n in (("train", 3), ("test", 2))
    for name in ("dog", "cat")
    for k in range(n)
]
ONE_LEVEL = [f"{name}/{k}.jpg" for name in ("cat", "dog") for k in range(10)]


@pytest.fixture
def inspect(tmp_path):
    """The structure of a zip with files of these names."""

    def inspect_names(names, limit=LIMIT, content=b"not looked at", **options):
        path = tmp_path / "upload.zip"
        path.write_bytes(zipped([(name, b"" if name.endswith("/") else content) for name in names]))
        return inspect_dataset(path, limit, ImageOptions(**options))

    return inspect_names


def names_of(entries):
    """(label, name) of each."""
    return [(one.label, one.entry.name) for one in entries]


def test_train_and_test_folders_are_found(inspect):
    """Classes by name, images by class and name, whatever their order in the zip."""
    structure = inspect(FOLDERS[::-1])
    assert structure.class_names == ("cat", "dog")
    assert names_of(structure.train) == [
        (label, f"train/{name}/{k}.png")
        for label, name in enumerate(("cat", "dog"))
        for k in range(3)
    ]
    assert names_of(structure.test) == [
        (label, f"test/{name}/{k}.png")
        for label, name in enumerate(("cat", "dog"))
        for k in range(2)
    ]
    assert (structure.split, structure.ignored) == ("folders", ())
    assert structure.validation == ()


@pytest.mark.parametrize("names", [FOLDERS, ONE_LEVEL])
def test_a_folder_around_everything_is_looked_through(inspect, names):
    """Archivers put one around what they pack."""
    plain, wrapped = inspect(names), inspect([f"My images/{name}" for name in names])
    assert wrapped.class_names == plain.class_names
    assert wrapped.split == plain.split
    assert len(wrapped.train) == len(plain.train)
    assert wrapped.train[0].entry.name == f"My images/{plain.train[0].entry.name}"


def test_suffixes_and_part_names_are_read_in_any_case(inspect):
    """IMG.JPG in Train/ is an image in train/."""
    names = [name.replace("train", "Train").replace(".png", ".JPeG") for name in FOLDERS]
    assert len(inspect(names).train) == 6


def test_classes_of_numbers_are_ordered_by_number(inspect):
    """Label k is class k, also from 10 classes on; one name that is no number and text rules."""
    folders = [str(k) for k in range(12)]
    names = [f"{folder}/{k}.png" for folder in folders for k in range(3)]
    assert inspect(names).class_names == tuple(folders)
    assert inspect([*names, *(f"x/{k}.png" for k in range(3))]).class_names == tuple(
        sorted([*folders, "x"])
    )


def test_class_names_are_normalised(inspect):
    """Decomposed as macOS has them in one folder, composed in the other: one class."""
    names = [name.replace("cat", "Ka\u0308fer") for name in FOLDERS if name.startswith("train")]
    names += [name.replace("cat", "K\u00e4fer") for name in FOLDERS if name.startswith("test")]
    assert inspect(names).class_names == ("K\u00e4fer", "dog")


def test_what_systems_leave_in_folders_is_passed_over_and_counted(inspect):
    """Neither images nor a mistake; an image among them would not be one of the set's."""
    clutter = [
        ".DS_Store",
        "train/.DS_Store",
        "train/cat/Thumbs.db",
        "train/cat/desktop.ini",
        "__MACOSX/train/cat/._0.png",
        "train/cat/._0.png",
        ".git/HEAD",
    ]
    structure = inspect([*FOLDERS, *clutter])
    assert len(structure.ignored) == len(clutter)
    assert (len(structure.train), len(structure.test)) == (6, 4)


@pytest.mark.parametrize("folders", [FOLDERS, ONE_LEVEL])
@pytest.mark.parametrize("around", ["", "My images/"])
@pytest.mark.parametrize("left", ["", ".DS_Store", "Thumbs.db", "._0.png"])
def test_a_class_folder_without_an_image_is_refused(inspect, folders, around, left):
    """Empty, or with nothing but what systems leave: named with what to do."""
    part = "train/" if folders is FOLDERS else ""
    names = [f"{around}{name}" for name in [*folders, f"{part}bird/{left}", f"{part}eel/{left}"]]
    with pytest.raises(InvalidDataError, match=r"folders without any: 2, .*bird'.*eel'"):
        inspect(names)


@pytest.mark.parametrize("name", [".net/1.png", "train/.net/1.png", "cat/.thumbs/1.jpg"])
def test_images_in_a_hidden_folder_are_refused(inspect, name):
    """A class that starts with a dot is not left out unsaid; what tools keep there is clutter."""
    folders = FOLDERS if name.startswith("train") else ONE_LEVEL
    with pytest.raises(InvalidDataError, match=r"start with a dot.*with 1 image files: rename"):
        inspect([*folders, name])
    clutter = [".ipynb_checkpoints/1-checkpoint.png", ".git/logo.png"]
    assert set(inspect([*folders, *clutter]).ignored) == set(clutter)


@pytest.mark.parametrize("other", ["cat ", " cat", "cat\u3000"])
def test_folders_that_would_become_one_class_are_refused(inspect, other):
    """Told apart by spaces at the ends alone; or by Unicode form."""
    with pytest.raises(InvalidDataError, match="differ in spaces at the ends, in joiners or in"):
        inspect([*ONE_LEVEL, f"{other}/1.jpg", f"{other}/2.jpg"])
    with pytest.raises(InvalidDataError, match="differ in spaces"):
        inspect([*ONE_LEVEL, "K\u00e4fer/1.jpg", "Ka\u0308fer/2.jpg"])


def by_hand(names, fraction_of_ten, seed):
    """The split, from its description: the first by sha256 of seed, class and file name."""
    chosen = []
    for folder in ("cat", "dog"):
        members = [name for name in names if name.startswith(folder)]
        members.sort(
            key=lambda name: hashlib.sha256(
                json.dumps([seed, "split", *name.split("/")]).encode()
            ).hexdigest()
        )
        chosen += members[:fraction_of_ten]
    return set(chosen)


@pytest.mark.parametrize(
    ("options", "fraction_of_ten", "seed"),
    [
        ({}, 2, 0),
        ({"test_fraction": 0.5}, 5, 0),
        ({"test_fraction": 0.31, "seed": 7}, 3, 7),
        ({"test_fraction": 0.001}, 1, 0),
        ({"test_fraction": 0.84}, 8, 0),
    ],
)
def test_one_level_is_split_by_seed(inspect, options, fraction_of_ten, seed):
    """Each class by its share, rounded, at least one; every image in one of the two parts."""
    structure = inspect(ONE_LEVEL, **options)
    test = {one.entry.name for one in structure.test}
    assert structure.split == "seed"
    assert test == by_hand(ONE_LEVEL, fraction_of_ten, seed)
    assert test | {one.entry.name for one in structure.train} == set(ONE_LEVEL)


def test_a_class_too_small_to_split_is_told_why(inspect):
    """One file of a class is a test image: that none is left is for the split, not for the zip."""
    names = ["cat/1.png", "dog/1.png", "dog/2.png", "dog/3.png"]
    with pytest.raises(InvalidDataError, match=r"got 0 of 'cat' .*were split into train and test"):
        inspect(names)


def test_a_split_depends_on_names_and_seed_alone(inspect):
    """Not on the order in the zip, nor on a folder around; another seed gives another."""
    split = [one.entry.name for one in inspect(ONE_LEVEL, test_fraction=0.5).test]
    assert [one.entry.name for one in inspect(ONE_LEVEL[::-1], test_fraction=0.5).test] == split
    wrapped = inspect([f"a/{name}" for name in ONE_LEVEL], test_fraction=0.5)
    assert [one.entry.name for one in wrapped.test] == [f"a/{name}" for name in split]
    others = [
        [one.entry.name for one in inspect(ONE_LEVEL, test_fraction=0.5, seed=seed).test]
        for seed in range(1, 4)
    ]
    assert split not in others


def test_a_split_stays_when_images_are_added(inspect):
    """To another class: each class is split for itself."""
    more = [*ONE_LEVEL, *(f"bird/{k}.jpg" for k in range(10))]
    before = {one.entry.name for one in inspect(ONE_LEVEL).test}
    after = {one.entry.name for one in inspect(more).test}
    assert {name for name in after if not name.startswith("bird")} == before


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "wanted PNG, JPEG, WebP, BMP or TIFF files as train/CLASS/FILE.*got no file"),
        (["train/cat/", "test/cat/"], "got no file"),
        ([".DS_Store"], "got no file"),
        (["readme.txt", "cat/a.gif"], r"wanted PNG, JPEG.*got 'cat/a.gif', 'readme.txt'"),
        ([*FOLDERS, "train/cat/x.zip"], r"no archives inside the zip; got 'train/cat/x.zip'"),
        ([*FOLDERS, "x.tar.gz", "labels.csv"], "no archives inside"),
        ([*FOLDERS, "notes.txt"], "TIFF files only, and at most one table.*; got 'notes.txt'"),
        ([*FOLDERS, "train/cat/a.gif"], "TIFF files only.*; got 'train/cat/a.gif'"),
        (["0.png", "1.png"], r"wanted train/CLASS/FILE and test/CLASS/FILE.*, or CLASS/FILE"),
        (["train/0.png", "test/1.png"], r"or CLASS/FILE; got 'test/1.png', 'train/0.png'"),
        ([*FOLDERS, "cat/0.png"], r"got 'cat/0.png' and 'train/\w+/0.png'"),
        ([*FOLDERS, "dev/cat/0.png"], r"wanted train/CLASS/FILE.*got .* more"),
        ([*FOLDERS, "val/cat/0.png"], r"validation: wanted at least 1 .*got 0 of 'dog'"),
        ([*FOLDERS, "val/cat/0.png", "valid/dog/1.png"], "one folder a part; got 'val', 'valid'"),
        ([n for n in FOLDERS if n.startswith("test")], "got 'test' alone"),
        (["a/b/c/0.png", "a/b/d/0.png", "a/x/d/0.png"], "wanted train/CLASS/FILE"),
        (["w/v/train/cat/0.png", "w/v/test/cat/0.png"], "wanted train/CLASS/FILE"),
        ([n for n in FOLDERS if "dog" not in n], "2 to 1000 classes.*got 1: 'cat'"),
        ([f"cat/{k}.png" for k in range(5)], "2 to 1000 classes.*got 1: 'cat'"),
        ([f"{k}/{j}.png" for k in range(1_001) for j in range(3)], "got 1001"),
        ([n for n in FOLDERS if not n.startswith("test/dog")], r"test: .*got 0 of 'dog'"),
        ([n for n in FOLDERS if not n.startswith("train/dog")], r"train: .*got 0 of 'dog'"),
        ([n for n in FOLDERS if n not in ("train/cat/0.png", "train/cat/1.png")], "got 1 of 'cat'"),
        (["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"], "train: .*got 1 of 'cat', 'dog'"),
        ([n.replace("cat", "c" * 65) for n in FOLDERS], "class folder: wanted 1 to 64 characters"),
        ([n.replace("cat", " ") for n in FOLDERS], "1 to 64 characters; got 0"),
    ],
)
def test_a_wrong_layout_is_refused(inspect, names, message):
    """What was wanted, and by name what was got."""
    with pytest.raises(InvalidDataError, match=message):
        inspect(names)


def test_sizes_are_limited(inspect, monkeypatch):
    """All files together, each file, and the images that `resize` would make."""
    with pytest.raises(InvalidDataError, match="at most 100 bytes after decoding; got 130"):
        inspect(FOLDERS, limit=100)
    assert inspect(FOLDERS, limit=130)
    with pytest.raises(InvalidDataError, match="at most 10,000 bytes after decoding; got 10,240"):
        inspect(FOLDERS, limit=10_000, resize=32)
    monkeypatch.setattr(image_zip_structure, "MAX_FILE_BYTES", 12)
    with pytest.raises(InvalidDataError, match=r"^train/dog/0.png: wanted files of at most 12 "):
        inspect(FOLDERS)
