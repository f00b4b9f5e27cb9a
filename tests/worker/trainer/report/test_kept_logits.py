"""The logits that a report keeps: bounded, and what its mistakes look like."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from worker.trainer.report import kept_logits
from worker.trainer.report.kept_logits import FORMAT, write_test_logits
from worker.trainer.report.training_sets import Network, TrainingSet


def group(*ids):
    """A training set of networks by their ids."""
    return TrainingSet(label="random", images="", models=tuple(Network(id_) for id_ in ids))


def written(path, groups, logits, labels, images=None):
    """The tensors of a file."""
    write_test_logits(path, groups, logits, labels, images)
    return load_file(path)


@pytest.fixture
def drawn():
    """Logits of two networks, labels and images that say which they are."""
    generator = torch.Generator().manual_seed(0)
    logits = {name: torch.randn(50, 4, generator=generator) for name in "ab"}
    labels = torch.randint(4, (50,), generator=generator)
    images = torch.arange(50, dtype=torch.uint8).reshape(50, 1, 1, 1).expand(50, 3, 2, 2)
    return logits, labels, images


def test_the_first_network_of_each_training_set_is_kept(tmp_path, drawn):
    """As float32, whole where there is room."""
    logits, labels, _ = drawn
    found = written(tmp_path / "a", [group("a", "x"), group("b")], logits, labels)
    assert set(found) == {"labels", "images", "logits.0", "logits.1"}
    assert torch.equal(found["logits.0"], logits["a"])
    assert torch.equal(found["logits.1"], logits["b"])
    assert torch.equal(found["labels"].long(), labels)
    assert found["images"].tolist() == list(range(50))
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() == {"format": FORMAT}


def test_a_large_report_keeps_some_images_of_some_networks(tmp_path, drawn, monkeypatch):
    """Spread evenly over all images, and said which."""
    monkeypatch.setattr(kept_logits, "MOST_VALUES", 41)
    monkeypatch.setattr(kept_logits, "MOST_NETWORKS", 1)
    logits, labels, _ = drawn
    found = written(tmp_path / "a", [group("a"), group("b")], logits, labels)
    assert "logits.1" not in found
    places = found["images"].long()
    assert places.tolist() == list(range(0, 50, 5))
    assert torch.equal(found["logits.0"], logits["a"][places])
    assert torch.equal(found["labels"].long(), labels[places])


def test_more_classes_than_there_is_room_for_leave_one_image(tmp_path, drawn, monkeypatch):
    """Never none."""
    monkeypatch.setattr(kept_logits, "MOST_VALUES", 3)
    logits, labels, images = drawn
    found = written(tmp_path / "a", [group("a")], logits, labels, images)
    assert found["logits.0"].shape == (1, 4)


def test_the_most_confident_mistakes_have_their_pictures(tmp_path, drawn, monkeypatch):
    """Of all networks in turn, each image once."""
    monkeypatch.setattr(kept_logits, "MOST_PICTURES", 6)
    logits, labels, images = drawn
    found = written(tmp_path / "a", [group("a"), group("b")], logits, labels, images)
    ranked = []
    for one in logits.values():
        confidence = torch.softmax(one.double(), 1).amax(1)
        wrong = [k for k in range(50) if one[k].argmax() != labels[k]]
        ranked.append(sorted(wrong, key=lambda k, of=confidence: -float(of[k])))
    in_turn = dict.fromkeys(k for pair in zip(*ranked, strict=False) for k in pair)
    assert found["pictured"].tolist() == list(in_turn)[:6]
    assert found["pictures"][:, 0, 0, 0].tolist() == found["pictured"].tolist()


def test_large_pictures_are_fewer(tmp_path, drawn, monkeypatch):
    """As many as there is room for, perhaps none; a network without mistakes has none."""
    monkeypatch.setattr(kept_logits, "MOST_PICTURE_BYTES", 25)
    logits, labels, images = drawn
    found = written(tmp_path / "a", [group("a")], logits, labels, images)
    assert found["pictures"].shape == (2, 3, 2, 2)
    right = {"a": torch.nn.functional.one_hot(labels, 4).float()}
    found = written(tmp_path / "b", [group("a")], right, labels, images)
    assert found["pictures"].shape == (0, 3, 2, 2)
