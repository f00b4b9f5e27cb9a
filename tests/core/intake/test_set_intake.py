"""Distilled sets made elsewhere: what comes out is what was sent, the rest is refused in words."""

import json
import pickle
import random
import struct
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from ddcal_core.data.input_space import Standard, Zca
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.sets import read_distilled_set, write_distilled_set
from ddcal_core.intake.set_intake import take_in_sets
from ddcal_core.intake.structure.plain_pickle import read_pickle_bytes
from ddcal_core.specs.spaces import ZcaSpace
from ddcal_core.specs.uploads import SetOptions
from tests.core.formats.stored import set_provenance
from tests.core.intake.set_files_made import FACTS, dc_file, pair_file, synthetic

LIMIT = 10**8


def take(path, folder, *, space="standardised", limit=LIMIT, **options):
    """Take a file in; what came out of it, and each set read back."""
    folder = folder / "taken"
    folder.mkdir()
    said = SetOptions(dataset="mine", space=space, **options)
    taken = take_in_sets(path, folder, limit, facts=FACTS, options=said, sha256="0" * 64)
    return taken, [read_distilled_set(one.paths[0], FACTS) for one in taken]


def refused(path, folder, **options):
    """The words that a file is refused in; nothing of a set is left."""
    with pytest.raises(InvalidDataError) as caught:
        take(path, folder, **options)
    assert not list(folder.glob("taken/set_*/*"))
    return str(caught.value)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("ipc", [1, 10])
def test_all_experiments_of_dc_come_in_bit_for_bit(tmp_path, ipc, is_zip):
    """Each with its own images; what the file says of accuracies is told as that."""
    data = dc_file(tmp_path / "x", ipc, 3, _use_new_zipfile_serialization=is_zip)
    taken, sets = take(tmp_path / "x", tmp_path)
    assert len(taken) == 3
    for k, (one, stored) in enumerate(zip(taken, sets, strict=True)):
        assert torch.equal(stored.images, data[k][0])
        assert torch.equal(stored.labels, data[k][1])
        said = one.manifest.imported
        assert (said.file_format, said.experiment, said.n_experiments) == ("dc", k, 3)
        assert said.reported_accuracies == {"ConvNet": 0.625}
        assert (one.manifest.method, one.manifest.images_per_class) == ("imported", ipc)
        assert {path.name for path in one.paths} == {
            "distilled_set.safetensors", "manifest.json", "distilled_set.npz", "preview.png",
        }  # fmt: skip


def test_one_experiment_is_picked(tmp_path):
    """By its place; one that is not there is refused with how many there are."""
    data = dc_file(tmp_path / "x", 1, 2)
    _, (stored,) = take(tmp_path / "x", tmp_path, experiment=1)
    assert torch.equal(stored.images, data[1][0])
    (tmp_path / "second").mkdir()
    assert "wanted 0 to 1" in refused(tmp_path / "x", tmp_path / "second", experiment=2)


def test_numbers_that_standardised_images_were_made_by_go_with_them(tmp_path):
    """The images stay as they are; mean and std are the sender's, not the data set's."""
    (images, _), *_ = dc_file(tmp_path / "x", 1, 1)
    (one,), (stored,) = take(tmp_path / "x", tmp_path, mean=[0.5], std=[0.25])
    assert torch.equal(stored.images, images)
    assert (one.manifest.mean, one.manifest.facts.std) == ((0.5,), (0.25,))


def test_mtts_pair_of_pixels_enters_the_network_s_space(tmp_path):
    """A learned rate comes by a field; pixels a little outside [0, 1] are kept and counted."""
    images = torch.rand(6, *FACTS.image_shape, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, 0] = 1.25
    pair_file(tmp_path / "x", images, torch.arange(6) % 3)
    (one,), (stored,) = take(tmp_path / "x", tmp_path, space="pixels", learned_lr=0.02)
    assert torch.allclose(stored.images, (images - 0.25) / 0.5, atol=1e-6)
    assert (one.manifest.learned_lr, one.manifest.train_with["lr"]) == (0.02, 0.02)
    assert any("outside [0, 1]" in note for note in one.manifest.imported.notes)


def _tensors(path, arrays):
    torch.save(arrays, path)


def _numpy(path, arrays):
    np.savez_compressed(path, **{name: one.numpy() for name, one in arrays.items()})


@pytest.mark.parametrize(
    "write",
    [_tensors, _numpy, lambda path, arrays: safetensors.torch.save_file(arrays, path)],
    ids=["pt", "npz", "safetensors"],
)
def test_arrays_by_name_come_in_from_three_kinds_of_file(tmp_path, write):
    """Soft labels are kept, and the class that each gives most to beside them."""
    images, labels = synthetic(2)
    soft = torch.softmax(torch.eye(3)[labels] * 2, 1)
    path = tmp_path / "x.npz"
    write(path, {"images": images, "labels": labels, "soft_labels": soft})
    _, (stored,) = take(path, tmp_path)
    assert torch.equal(stored.images, images)
    assert torch.equal(stored.soft_labels, soft)
    assert torch.equal(stored.labels, labels)


def safetensors_of(header, n_bytes):
    """A file of this header, zeros behind it."""
    held = header.encode()
    return struct.pack("<Q", len(held)) + held + bytes(n_bytes)


@pytest.mark.parametrize(
    ("labels", "n_bytes", "words"),
    [
        (
            (760, 784),
            784,
            "labels: wanted tensors one behind the other, each with bytes of its own",
        ),
        ((776, 800), 800, "some are of none"),
        ((768, 792), 793, "that ends with its tensors; got 1 bytes more"),
        ((768, 792), 792, "labels: wanted each name once in the header; got it twice"),
    ],
)
def test_tensors_have_bytes_of_their_own(tmp_path, labels, n_bytes, words):
    """As the format says: none shared, none unclaimed, no name twice."""
    twice = ',"labels":{}' if "twice" in words else ""
    images = '"images":{"dtype":"F32","shape":[3,1,8,8],"data_offsets":[0,768]}'
    found = '"labels":{"dtype":"I64","shape":[3],"data_offsets":[%d,%d]}'
    path = tmp_path / "x"
    path.write_bytes(safetensors_of(f"{{{images},{found % labels}{twice}}}", n_bytes))
    assert words in refused(path, tmp_path)


def test_bytes_are_pixels(tmp_path):
    """0 to 255, divided by 255."""
    pixels = np.arange(3 * 64, dtype=np.uint8).reshape(3, 1, 8, 8)
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.arange(3)[:, None])
    _, (stored,) = take(tmp_path / "x.npz", tmp_path, space="pixels")
    assert np.allclose(stored.images.numpy() * 0.5 + 0.25, pixels / 255, atol=1e-6)


def test_a_whitened_set_comes_with_its_matrix(tmp_path):
    """As a set of this service's is: the images stay, the way back is in the file."""
    root = torch.eye(64) * 3 + 0.1
    space = Zca(FACTS, ZcaSpace(name="zca"), torch.full((64,), 0.5), root)
    images = space(torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    arrays = {"images": images, "labels": torch.arange(3)}
    matrix = {"input_space.matrix": root, "input_space.mean": space.mean}
    safetensors.torch.save_file(arrays | matrix, tmp_path / "x")
    (one,), (stored,) = take(tmp_path / "x", tmp_path, space="zca")
    assert torch.equal(stored.images, images)
    assert one.manifest.input_space.name == "zca"
    kept = safetensors.torch.load_file(one.paths[0])
    assert torch.equal(kept["input_space.matrix"], root)
    (tmp_path / "other").mkdir()
    assert "the file has it" in refused(tmp_path / "x", tmp_path / "other")
    (tmp_path / "bare").mkdir()
    safetensors.torch.save_file(arrays, tmp_path / "y")
    assert "input_space.matrix" in refused(tmp_path / "y", tmp_path / "bare", space="zca")


@pytest.mark.parametrize("name", ["distilled_set.safetensors", "distilled_set.npz"])
def test_a_set_of_this_service_comes_back_as_it_was(tmp_path, name):
    """Downloaded from one, uploaded to another: images, labels, and the numbers they stand in."""
    images, labels = synthetic(2)
    soft = torch.softmax(torch.eye(3)[labels] * 2, 1)
    provenance = set_provenance()
    write_distilled_set(tmp_path, images, soft, space=Standard(FACTS), provenance=provenance)
    (one,), (stored,) = take(tmp_path / name, tmp_path)
    assert torch.equal(stored.images, images)
    assert torch.equal(stored.soft_labels, soft)
    assert (one.manifest.mean, one.manifest.std) == (FACTS.mean, FACTS.std)


@pytest.mark.parametrize(
    ("declared", "images", "words"),
    [
        ("pixels", torch.randn(3, 1, 8, 8), "look standardised (space=standardised)"),
        ("standardised", torch.rand(3, 1, 8, 8), "look like pixels in [0, 1]"),
        ("pixels", torch.rand(3, 1, 8, 8) * 255, "pixels from 0 to 255"),
        ("standardised", torch.randn(3, 1, 8, 8) * 1e4, "look like no images"),
        ("standardised", torch.randint(0, 256, (3, 1, 8, 8)).byte(), "bytes, which are pixels"),
    ],
)
def test_an_implausible_space_is_refused_with_what_it_looks_like(tmp_path, declared, images, words):
    """So that no set is trained on in a space it was not made in."""
    torch.save([images, torch.arange(3)], tmp_path / "x")
    assert words in refused(tmp_path / "x", tmp_path, space=declared)


def _images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


GOOD = _images(3, 1, 8, 8)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ([_images(3, 3, 8, 8), torch.arange(3)], "wanted 1 to 200,000 of the data set's shape"),
        ([_images(3, 8, 8, 1), torch.arange(3)], "got (3, 8, 8, 1)"),
        ([_images(0, 1, 8, 8), torch.arange(0)], "got (0, 1, 8, 8)"),
        ([GOOD.long(), torch.arange(3)], "wanted floating point numbers, or bytes"),
        ([GOOD * float("nan"), torch.arange(3)], "wanted finite numbers"),
        ([GOOD, torch.arange(4)], "wanted one an image, shape (3,); got (4,)"),
        ([GOOD, torch.arange(1, 4)], "subtract 1 from every label"),
        ([GOOD, torch.tensor([0, 1, 1])], "got none of 'c'"),
        ([GOOD, torch.arange(3).float()], "class numbers have to be integers"),
        ([GOOD, torch.rand(3, 4)], "shape (3, 3); got (3, 4)"),
        ([GOOD, torch.eye(3) * 4], "of logits, take the softmax first"),
        ([GOOD.bfloat16(), torch.arange(3)], "BFloat16Storage"),
        ([GOOD.expand(3, 1, 8, 8).transpose(2, 3), torch.arange(3)], ".contiguous()"),
        (GOOD, "got one tensor of shape (3, 1, 8, 8)"),
        ({"data": []}, "wanted a list of [images, labels]"),
        ({"images": GOOD}, "wanted the arrays images and labels"),
        ({"weights": GOOD, "images": GOOD, "labels": torch.arange(3)}, "'weights'"),
        ("text", "got something else"),
    ],
)
def test_what_does_not_fit_the_data_set_is_refused_by_name(tmp_path, held, words):
    """Wrong shapes, types and labels, each in words."""
    torch.save(held, tmp_path / "x")
    assert words in refused(tmp_path / "x", tmp_path)


class _Executes:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_is_executed_whoever_asks(tmp_path, capsys):
    """In a zip, in the older form, and as a bare pickle: refused by the name of what is asked."""
    torch.save({"data": [[_Executes(), 1]]}, tmp_path / "zip")
    torch.save(_Executes(), tmp_path / "older", _use_new_zipfile_serialization=False)
    (tmp_path / "bare").write_bytes(pickle.dumps(_Executes()))
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module")
    for name, words in (("zip", "print"), ("older", "print"), ("bare", "print"), ("module", "nn")):
        (folder := tmp_path / f"in-{name}").mkdir()
        found = refused(tmp_path / name, folder)
        assert words in found
        assert "nothing is ever executed" in found
    assert capsys.readouterr().out == ""


# pickletools reads names as text with escapes, and warns of those it does not know.
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_a_broken_pickle_is_refused_whatever_is_broken(tmp_path):
    """Bytes of it changed, dropped or doubled: taken, or refused in words; never anything else."""
    dc_file(tmp_path / "zip")
    with zipfile.ZipFile(tmp_path / "zip") as archive:
        (name,) = (one for one in archive.namelist() if one.endswith("data.pkl"))
        whole = archive.read(name)
    dice, refusals = random.Random(0), 0
    for _ in range(2_000):
        broken, at = bytearray(whole), dice.randrange(len(whole))
        broken[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        try:
            read_pickle_bytes(bytes(broken))
        except InvalidDataError:
            refusals += 1
    assert 1_000 < refusals < 2_000


def test_a_file_cut_anywhere_is_refused(tmp_path):
    """A .pt of both forms, safetensors and .npz, at forty places each."""
    images, labels = synthetic(1)
    dc_file(tmp_path / "zip")
    dc_file(tmp_path / "older", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file({"images": images, "labels": labels}, tmp_path / "safetensors")
    np.savez(tmp_path / "x.npz", images=images.numpy(), labels=labels.numpy())
    for name in ("zip", "older", "safetensors", "x.npz"):
        whole = (tmp_path / name).read_bytes()
        for k in range(40):
            (folder := tmp_path / f"{name}-{k}").mkdir()
            (folder / "cut").write_bytes(whole[: len(whole) * k // 40])
            assert refused(folder / "cut", folder)


def test_a_file_that_lies_about_its_size_is_refused(tmp_path):
    """Tensors beyond their bytes, a header longer than the file, more than may be decoded."""
    data = dc_file(tmp_path / "x", 10, 2)
    (tmp_path / "small").mkdir()
    n_bytes = 2 * data[0][0].nbytes
    assert "bytes after decoding" in refused(tmp_path / "x", tmp_path / "small", limit=n_bytes)
    (tmp_path / "far").mkdir()
    entry = {"dtype": "F32", "shape": [3, 1, 8, 8], "data_offsets": [10**9, 10**9 + 768]}
    header = json.dumps({"images": entry, "labels": entry}).encode()
    (tmp_path / "y").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "within the file" in refused(tmp_path / "y", tmp_path / "far")
    (tmp_path / "short").mkdir()
    torch.save([GOOD, torch.arange(3)], tmp_path / "z")
    with zipfile.ZipFile(tmp_path / "z") as old, zipfile.ZipFile(tmp_path / "w", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[:100] if name.endswith("data/0") else old.read(name))
    assert "bytes of tensor '0'; got 100" in refused(tmp_path / "w", tmp_path / "short")


def test_a_list_that_holds_itself_is_gone_through_once(tmp_path):
    """Many times over, at every depth: refused at once, not after 10^12 steps."""
    knot = []
    knot.extend([knot] * 10_000)
    torch.save({"data": [knot]}, tmp_path / "x")
    assert "wanted a list of [images, labels]" in refused(tmp_path / "x", tmp_path)
