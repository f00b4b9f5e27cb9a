import math

import pytest
import torch
from torch import nn

from ddcal_core.calibration.masked import fit_masked_temperature, fit_temperature
from ddcal_core.networks import ConvNet, initialise
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network


class Recorder(nn.Module):
    """A linear network that keeps every batch it is shown, as a fake with a memory."""

    def __init__(self, n_classes=3, n_pixels=16):
        super().__init__()
        self.linear = nn.Linear(n_pixels, n_classes)
        initialise(self.linear, seeded_generator(0, "network"))
        self.seen = []

    def forward(self, images):
        self.seen.append(images.clone())
        return self.linear(images.flatten(1))


def some_images(n, n_channels=1, side=4):
    """Random images without an exact 0, and labels that the Recorder mostly gets right."""
    generator = seeded_generator(0, "images")
    images = torch.randn((n, n_channels, side, side), generator=generator)
    predicted = Recorder(n_pixels=n_channels * side * side)(images).argmax(1)
    follows = torch.rand(n, generator=generator) < 0.7
    return images, torch.where(follows, predicted, torch.randint(3, (n,), generator=generator))


@pytest.mark.parametrize(
    ("n", "n_draws"), [(1, 1000), (3, 334), (100, 10), (999, 2), (1000, 1), (1500, 1)]
)
def test_few_images_are_masked_until_a_thousand_rows(n, n_draws):
    """Each image gets 1,000 / N masks, rounded up, at least one; every one is another."""
    network = Recorder()
    images, labels = some_images(n)
    masked = fit_masked_temperature(network, images, labels, MaskSpec(ratio=0.5), seed=0)
    assert masked.n_draws == n_draws
    assert masked.fit.n == n * n_draws == sum(len(batch) for batch in network.seen)
    seen = torch.cat(network.seen)
    assert torch.equal(seen != 0, seen == images.repeat(n_draws, 1, 1, 1))
    assert len((seen != 0).unique(dim=0)) > 0.97 * min(len(seen), 2**16)


@pytest.mark.parametrize("n", [3, 1200])
def test_the_number_of_draws_can_be_chosen(n):
    """Each image gets as many masks as asked for; the first ones are those of any other number."""
    images, labels = some_images(n)
    shown = []
    for n_draws in (1, 5):
        network = Recorder()
        found = fit_masked_temperature(
            network, images, labels, MaskSpec(ratio=0.5), seed=0, n_draws=n_draws
        )
        assert (found.n_draws, found.fit.n) == (n_draws, n * n_draws)
        shown.append(torch.cat(network.seen))
    assert torch.equal(shown[0], shown[1][:n])


def test_options_of_the_mask_reach_the_images():
    """With a shared patch mask each draw blanks the same cells of every image."""
    network = Recorder()
    images, labels = some_images(20)
    spec = MaskSpec(ratio=0.5, unit="patch", patch_size=2, scope="shared")
    fit_masked_temperature(network, images, labels, spec, seed=0, n_draws=30)
    seen = (torch.cat(network.seen) == 0).view(30, 20, 4, 4)
    assert torch.equal(seen, seen[:, :1].expand_as(seen))
    assert torch.equal(seen[..., ::2, ::2], seen[..., 1::2, 1::2])
    assert len(seen[:, 0].flatten(1).unique(dim=0)) > 8


def test_fit_is_that_of_the_masked_logits():
    """Temperature and accuracy are those of the network on the very images it was shown."""
    network = Recorder()
    images, labels = some_images(40)
    masked = fit_masked_temperature(network, images, labels, MaskSpec(ratio=0.3), seed=4)
    logits = network(torch.cat(network.seen)).detach()
    all_labels = labels.repeat(25)
    wanted = fit_temperature(logits, all_labels)
    assert masked.fit.status == wanted.status == "ok"
    assert masked.fit.temperature == pytest.approx(wanted.temperature, rel=1e-6)
    assert masked.masked_accuracy == float((logits.argmax(1) == all_labels).double().mean())
    assert masked.fit.standard_error > wanted.standard_error


def test_channels_share_a_mask_and_the_share_is_the_ratio():
    """A masked pixel is 0 in all three channels; 70 % are."""
    network = Recorder(n_pixels=48)
    images, labels = some_images(200, n_channels=3)
    fit_masked_temperature(network, images, labels, MaskSpec(ratio=0.7), seed=0)
    masked = torch.cat(network.seen) == 0
    assert torch.equal(masked.any(1), masked.all(1))
    n_pixels = masked[:, 0].numel()
    assert abs(float(masked.double().mean()) - 0.7) < 5 * math.sqrt(0.21 / n_pixels)


@pytest.mark.parametrize("n", [5, 1200])
def test_ratio_zero_is_temperature_scaling(n):
    """Nothing masked: one draw, and field by field the plain fit."""
    network = Recorder()
    images, labels = some_images(n)
    masked = fit_masked_temperature(network, images, labels, MaskSpec(ratio=0), seed=0)
    assert masked.n_draws == 1
    assert masked.fit == fit_temperature(predict_logits(network, images), labels)


@pytest.mark.parametrize("batch_size", [1, 7, 30, 64, 5000])
def test_batches_do_not_matter(batch_size):
    """The masks are the same however many images the network sees at once."""
    network = Recorder()
    images, labels = some_images(30)
    spec = MaskSpec(ratio=0.5)
    wanted = fit_masked_temperature(network, images, labels, spec, seed=0)
    shown = torch.cat(network.seen)
    network.seen.clear()
    got = fit_masked_temperature(network, images, labels, spec, seed=0, batch_size=batch_size)
    assert torch.equal(torch.cat(network.seen), shown)
    assert max(len(batch) for batch in network.seen) <= batch_size
    assert got.fit.temperature == pytest.approx(wanted.fit.temperature, rel=1e-5)


def test_equal_seeds_fit_equal_temperatures():
    """The same seed gives the same fit, bit for bit; another seed other masks."""
    images, labels = some_images(50)
    first, again, other = (
        fit_masked_temperature(Recorder(), images, labels, MaskSpec(ratio=0.5), seed=seed)
        for seed in (3, 3, 4)
    )
    assert first == again
    assert first.fit.temperature != other.fit.temperature


def test_a_memorised_set_is_separable_until_it_is_masked():
    """Trained to 100 % on its images TS has no temperature there; masking gives one."""
    images = torch.randn((30, 1, 8, 8), generator=seeded_generator(0, "noise"))
    labels = torch.arange(30) % 3
    network = ConvNet(1, 3, (8, 8), 8, 2)
    initialise(network, seeded_generator(0, "network"))
    train_network(
        network, images, labels, TrainSpec(epochs=80, lr=0.1), generator=seeded_generator(0, "o")
    )
    fits = {
        ratio: fit_masked_temperature(network, images, labels, MaskSpec(ratio=ratio), seed=0)
        for ratio in (0.0, 0.5, 0.8)
    }
    assert fits[0.0].fit.status == "separable"
    assert fits[0.5].fit.status == fits[0.8].fit.status == "ok"
    assert fits[0.5].fit.temperature < fits[0.8].fit.temperature
    assert 1 == fits[0.0].masked_accuracy > fits[0.5].masked_accuracy > fits[0.8].masked_accuracy


def test_network_and_images_are_left_as_they_were():
    """Mode, parameters and images do not change."""
    network = Recorder().train()
    images, labels = some_images(20)
    kept = images.clone(), network.linear.weight.clone()
    fit_masked_temperature(network, images, labels, MaskSpec(ratio=0.5), seed=0)
    assert network.training
    assert torch.equal(images, kept[0])
    assert torch.equal(network.linear.weight, kept[1])


def test_no_images_and_broken_networks_are_refused():
    """An empty set and logits that are not finite are told as such."""
    images, labels = some_images(4)
    with pytest.raises(ValueError, match="wanted at least one image"):
        fit_masked_temperature(Recorder(), images[:0], labels[:0], MaskSpec(ratio=0.5), seed=0)
    network = Recorder()
    with torch.no_grad():
        network.linear.bias.fill_(math.nan)
    with pytest.raises(ValueError, match="NaN or infinite"):
        fit_masked_temperature(network, images, labels, MaskSpec(ratio=0.5), seed=0)
