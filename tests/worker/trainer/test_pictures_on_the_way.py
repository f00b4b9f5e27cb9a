"""Pictures that a distillation leaves on its way: which, of what, and that they change nothing."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ddcal_core.data.input_space import Standard
from ddcal_core.distillation.loop import evenly_spaced
from ddcal_core.errors import StoppedError
from ddcal_core.formats.pictures import SNAPSHOT, left_out_words
from ddcal_core.formats.sets import snapshot_png
from ddcal_core.specs.facts import DatasetFacts
from tests.worker.small_jobs import distill_params, file_of
from tests.worker.trainer.test_distill import dataset, set_bytes, task_of
from worker.trainer.kinds.distill import MOST_PICTURES, picture_steps, run

__all__ = ["dataset"]  # a fixture, asked for by name


def drawn(folder):
    """The pictures in a folder, by step; nothing else may be in it."""
    return {int(path.name.removesuffix(".png")): path.read_bytes() for path in folder.iterdir()}


def pixels_of(png):
    """A picture as colours."""
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("n_steps", [1, 5, 19, 20, 21, 400, 1001, 20_000])
@pytest.mark.parametrize("n_evaluations", [0, 1, 3, 4, 7, 11, 20, 21, 1000])
def test_pictures_are_few_and_those_scored_are_among_them(n_steps, n_evaluations):
    """From the start to the end, spread evenly."""
    steps = picture_steps(n_steps, n_evaluations)
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, n_steps)
    assert len(steps) <= MOST_PICTURES + 1
    assert len(steps) > min(n_steps, MOST_PICTURES // 2)
    if n_evaluations <= MOST_PICTURES:
        assert evenly_spaced(n_steps, n_evaluations) <= set(steps)


@pytest.mark.parametrize("method", ["dm", "dsa"])
def test_pictures_are_drawn_and_change_nothing(method, dataset, tmp_path):
    """One at each step of so few; the set is the same to the last bit."""
    (without,) = run(task_of(method, dataset, tmp_path / "a"))
    folder = tmp_path / "snapshots"
    folder.mkdir()
    (output,) = run(task_of(method, dataset, tmp_path / "b", snapshots=folder))
    assert set_bytes(output) == set_bytes(without)
    assert sorted(drawn(folder)) == [0, 1, 2, 3, 4, 5, 6]
    assert len(set(drawn(folder).values())) == 7


def test_a_picture_is_of_the_set_at_its_step(dataset, tmp_path):
    """The last one looks as the set does that came out, where the last is kept."""
    folder = tmp_path / "snapshots"
    folder.mkdir()
    task = task_of("dm", dataset, tmp_path / "a", snapshots=folder)
    params = distill_params(iterations=6, selection={"n_evaluations": 0})
    (output,) = run(replace(task, params=params))
    preview = pixels_of(file_of(output, "preview.png").read_bytes())
    pictures = {step: pixels_of(png) for step, png in drawn(folder).items()}
    assert np.array_equal(pictures[6], preview)
    assert pictures[0].shape == preview.shape
    assert not np.array_equal(pictures[0], preview)


def test_a_later_attempt_draws_what_is_left(dataset, tmp_path):
    """Together the two have drawn what one alone does, byte for byte."""
    folders = {name: tmp_path / f"snapshots-{name}" for name in ("whole", "first", "second")}
    for folder in folders.values():
        folder.mkdir()
    checkpoint = tmp_path / "checkpoint"

    def stop(progress):
        if progress.step == 5:
            raise StoppedError

    run(task_of("dm", dataset, tmp_path / "a", snapshots=folders["whole"]))
    first = {"snapshots": folders["first"], "on_progress": stop}
    with pytest.raises(StoppedError):
        run(task_of("dm", dataset, tmp_path / "b", checkpoint=checkpoint, **first))
    second = {"snapshots": folders["second"]}
    run(task_of("dm", dataset, tmp_path / "c", checkpoint=checkpoint, **second))
    assert sorted(drawn(folders["first"])) == [0, 1, 2, 3, 4]
    assert sorted(drawn(folders["second"])) == [5, 6]
    assert drawn(folders["first"]) | drawn(folders["second"]) == drawn(folders["whole"])


def test_a_disk_that_takes_no_picture_stops_nobody(dataset, tmp_path):
    """It is told of; the set is the same."""
    notes = []
    (without,) = run(task_of("dm", dataset, tmp_path / "a"))
    task = task_of(
        "dm",
        dataset,
        tmp_path / "b",
        snapshots=tmp_path / "nowhere",
        on_note=lambda code, message, **_: notes.append((code, message)),
    )
    (output,) = run(task)
    assert set_bytes(output) == set_bytes(without)
    missed = [message for code, message in notes if code == "picture_not_kept"]
    assert len(missed) == 7
    assert "No such file or directory" in missed[0]


@pytest.mark.parametrize(
    ("n_classes", "n_each", "shape", "is_soft"),
    [
        (2, 1, (1, 4, 4), False),
        (30, 12, (3, 80, 60), True),
        (1000, 1, (3, 64, 64), False),
        (20, 10, (3, 224, 224), False),
    ],
)
def test_a_picture_is_small_whatever_the_set(n_classes, n_each, shape, is_soft):
    """Bounded in pixels and bytes, and it says what is left out."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n_classes).repeat_interleave(n_each)
    images = torch.randn(len(labels), *shape, generator=generator)
    facts = DatasetFacts(
        image_shape=shape,
        class_names=tuple(f"a very long name of class {k}" for k in range(n_classes)),
        train_class_counts=(n_each,) * n_classes,
        test_class_counts=(1,) * n_classes,
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
    )
    given = torch.eye(n_classes)[labels] if is_soft else labels
    png = snapshot_png(images, given, Standard(facts))
    height, width, _ = pixels_of(png).shape
    rows, columns = min(n_classes, SNAPSHOT.n_classes), min(n_each, SNAPSHOT.n_per_class)
    # Names take at most 16 wide letters, each image one pixel of a gap.
    assert (width - 250) * (height - 24) <= max(SNAPSHOT.n_pixels * 1.25, 40 * 40 * 2 * rows)
    assert height >= rows * 14
    assert width >= columns * min(25, *shape[1:])
    assert len(png) < 1_000_000
    words = left_out_words(labels.numpy(), n_classes, SNAPSHOT)
    assert ("classes" in words) == (n_classes > 20)
    assert ("images per class" in words) == (n_each > 10)
