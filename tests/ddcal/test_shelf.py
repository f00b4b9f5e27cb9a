"""The sets that come with the package: whole, described, and usable without a service."""

import json
import re
import shutil

import pytest
import torch

import ddcal
import ddcal.shelf
import ddcal.torch
from ddcal.errors import DamagedDownloadError
from tests.damage import flip_a_bit


@pytest.mark.parametrize("name", ddcal.set_names())
def test_every_set_is_whole_and_described(name):
    """Its bytes, its manifest, a card with licence and evidence, and its pictures."""
    shelved = ddcal.load_set(name)
    assert shelved.licence in shelved.card
    assert shelved.source in shelved.card
    assert re.search(r"ECE", shelved.card)
    assert shelved.manifest["method"] in name
    assert (shelved.path / "preview.png").stat().st_size < 100_000
    assert "/tmp" not in json.dumps(shelved.manifest)


@pytest.mark.parametrize("name", ddcal.set_names())
def test_torch_reads_it_by_its_name(name):
    """Images and labels as its manifest says."""
    images = ddcal.torch.load_set(name)
    manifest = ddcal.load_set(name).manifest
    n_classes = len(manifest["real_class_counts"])
    assert len(images) == n_classes * manifest["images_per_class"]
    assert torch.bincount(images.labels).tolist() == [manifest["images_per_class"]] * n_classes


def test_a_network_learns_from_it():
    """Ten images of Fashion-MNIST, one a class: a network tells them apart."""
    images = ddcal.torch.load_set("dc-fashion-mnist-ipc1")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    descent = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(50):
        descent.zero_grad()
        torch.nn.functional.cross_entropy(network(images.images), images.labels).backward()
        descent.step()
    assert network(images.images).argmax(1).equal(images.labels)


def test_an_unknown_name_is_told_the_known_ones():
    """In words."""
    with pytest.raises(KeyError, match="dc-fashion-mnist-ipc1"):
        ddcal.load_set("dc-fashion-mnist")


def test_a_damaged_set_is_not_given(tmp_path, monkeypatch):
    """A bit of its images has changed."""
    name = ddcal.set_names()[0]
    shutil.copytree(ddcal.load_set(name).path, tmp_path / name)
    monkeypatch.setattr(ddcal.shelf, "_FOLDER", tmp_path)
    (tmp_path / "index.json").write_text("{}")
    flip_a_bit(tmp_path / name / "distilled_set.safetensors")
    with pytest.raises(DamagedDownloadError, match="install ddcal again"):
        ddcal.load_set(name)
