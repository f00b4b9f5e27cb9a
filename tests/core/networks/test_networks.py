import numpy as np
import pytest
import torch
from torch import nn

from ddcal_core.data.dataset_facts import NAMED_DATASETS, max_convnet_depth, n_convnet_parameters
from ddcal_core.networks import ConvNet, build_network, initialise
from ddcal_core.networks.layers import MeanPool
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.training import TrainSpec


def network_of(n_channels=1, n_classes=10, image_size=(8, 8), width=6, depth=2, draw=0):
    """An initialised small ConvNet."""
    network = ConvNet(n_channels, n_classes, image_size, width, depth)
    initialise(network, seeded_generator(0, "network", draw))
    return network


def slow_features(parameters, images, depth, padding):
    """The blocks written out with numpy loops, float64."""
    x = images.double().numpy()
    for block in range(depth):
        weight, bias, scale, shift = (
            parameters[f"features.{layer}{block}.{name}"].double().numpy()
            for layer, name in [
                ("conv", "weight"),
                ("conv", "bias"),
                ("norm", "weight"),
                ("norm", "bias"),
            ]
        )
        pad = padding if block == 0 else 1
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        n, _, height, width = x.shape
        y = np.zeros((n, len(weight), height - 2, width - 2))
        for i in range(3):
            for j in range(3):
                part = x[:, :, i : i + height - 2, j : j + width - 2]
                y += np.einsum("oc,nchw->nohw", weight[:, :, i, j], part)
        y += bias[:, None, None]
        mean, variance = y.mean((2, 3), keepdims=True), y.var((2, 3), keepdims=True)
        y = (y - mean) / np.sqrt(variance + 1e-5) * scale[:, None, None] + shift[:, None, None]
        y = np.maximum(y, 0)
        high, wide = y.shape[2] // 2 * 2, y.shape[3] // 2 * 2
        y = y[:, :, :high, :wide]
        x = (y[:, :, ::2, ::2] + y[:, :, 1::2, ::2] + y[:, :, ::2, 1::2] + y[:, :, 1::2, 1::2]) / 4
    return x.reshape(len(x), -1)


@pytest.mark.parametrize(
    ("n_channels", "image_size", "depth", "padding"),
    [
        (1, (8, 8), 3, 1),
        (3, (8, 8), 2, 1),
        (1, (28, 28), 3, 3),
        (3, (28, 28), 2, 1),
        (2, (7, 5), 2, 1),
    ],
)
def test_network_is_the_written_out_formula(n_channels, image_size, depth, padding):
    """Features and logits equal a numpy version; only grey 28 x 28 images are padded to 32."""
    network = network_of(n_channels, 4, image_size, 3, depth)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.rand(parameter.shape, generator=seeded_generator(1)) * 0.1)
    images = torch.randn((3, n_channels, *image_size), generator=seeded_generator(2))
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    features = slow_features(parameters, images, depth, padding)
    np.testing.assert_allclose(network.embed(images).detach().numpy(), features, atol=2e-5)
    weight, bias = parameters["classifier.weight"].numpy(), parameters["classifier.bias"].numpy()
    logits = features @ weight.T.astype(float) + bias
    np.testing.assert_allclose(network(images).detach().numpy(), logits, atol=2e-5)


@pytest.mark.parametrize(
    ("n_channels", "n_classes", "size", "depth", "n_parameters"),
    [
        (3, 10, 32, 3, 320_010),
        (1, 10, 28, 3, 317_706),
        (3, 100, 32, 3, 504_420),
        (3, 200, 64, 4, 857_160),
    ],
)
def test_parameter_counts_are_the_published_ones(n_channels, n_classes, size, depth, n_parameters):
    """At width 128 the counts are those of DC's code on CIFAR-10, MNIST, CIFAR-100 and Tiny."""
    network = ConvNet(n_channels, n_classes, (size, size), 128, depth)
    assert sum(p.numel() for p in network.parameters()) == n_parameters


def test_initialise_draws_what_pytorch_draws():
    """From one seed the parameters are those that PyTorch's own constructors draw, bit for bit."""
    network = ConvNet(3, 10, (8, 8), 5, 2)
    initialise(network, torch.Generator().manual_seed(7))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        wanted = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1),
            nn.GroupNorm(5, 5),
            nn.Conv2d(5, 5, 3, padding=1),
            nn.GroupNorm(5, 5),
            nn.Linear(5 * 2 * 2, 10),
        )
    for got, parameter in zip(network.parameters(), wanted.parameters(), strict=True):
        assert torch.equal(got, parameter)


def test_initialise_forgets_what_was_there():
    """A trained or uninitialised network becomes the fresh one of its generator."""
    network = network_of(draw=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))
    initialise(network, seeded_generator(0, "network", 1))
    for got, wanted in zip(network.parameters(), network_of(draw=1).parameters(), strict=True):
        assert torch.equal(got, wanted)
    assert not torch.equal(network.classifier.weight, network_of(draw=2).classifier.weight)


def test_global_generator_is_left_alone():
    """Neither building nor initialising draws from PyTorch's global generator."""
    before = torch.get_rng_state()
    network_of()
    assert torch.equal(torch.get_rng_state(), before)


def test_initialise_refuses_layers_it_does_not_know():
    """A layer whose distribution is not known is named."""
    with pytest.raises(TypeError, match="Bilinear"):
        initialise(nn.Sequential(nn.Linear(2, 2), nn.Bilinear(2, 2, 2)), seeded_generator(0))


@pytest.mark.parametrize("name", sorted(NAMED_DATASETS))
def test_specs_know_how_deep_a_network_can_be(name):
    """The depth that specs allows can be built, one more is refused with the image's size."""
    facts = NAMED_DATASETS[name]
    deepest = max_convnet_depth(facts.image_shape)
    network = build_network(TrainSpec(width=2, depth=deepest), facts, seeded_generator(0))
    assert network(torch.zeros(2, *facts.image_shape)).shape == (2, facts.n_classes)
    height, width = facts.image_shape[1:]
    with pytest.raises(ValueError, match=f"{height} x {width} cannot be halved {deepest + 1}"):
        ConvNet(facts.image_shape[0], 10, (height, width), 2, deepest + 1)


@pytest.mark.parametrize("name", sorted(NAMED_DATASETS))
def test_specs_know_how_many_numbers_a_network_learns(name):
    """Counted without torch, they are those of the network itself, at every depth."""
    facts = NAMED_DATASETS[name]
    n_channels, *size = facts.image_shape
    for depth in range(1, min(max_convnet_depth(facts.image_shape), 6) + 1):
        network = ConvNet(n_channels, facts.n_classes, tuple(size), 3, depth)
        wanted = sum(parameter.numel() for parameter in network.parameters())
        got = n_convnet_parameters(facts.image_shape, facts.n_classes, width=3, depth=depth)
        assert got == wanted


def test_build_network_reads_train_and_distill_specs():
    """Width and depth come from either spec; equal generators give equal networks."""
    facts = NAMED_DATASETS["digits"]
    trained = build_network(TrainSpec(width=4, depth=1), facts, seeded_generator(3))
    matched = build_network(DmSpec(method="dm", width=4, depth=1), facts, seeded_generator(3))
    assert trained.classifier.weight.shape == (10, 4 * 4 * 4)
    assert torch.equal(trained.classifier.weight, matched.classifier.weight)


def test_no_layer_mixes_images_or_knows_a_mode():
    """An image's logits are the same alone and in a batch, in training and in evaluation."""
    network = network_of()
    images = torch.randn((4, 1, 8, 8), generator=seeded_generator(5))
    together = network.train()(images)
    alone = torch.cat([network.eval()(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 4), (7, 5), (3, 2)])
def test_gradients_of_pooling_are_those_of_differences(size):
    """First and second order in float64, odd sides too; the values are those of avg_pool2d."""
    images = torch.randn((2, 3, *size), generator=seeded_generator(1), dtype=torch.float64)
    pool = MeanPool()
    torch.testing.assert_close(pool(images), torch.nn.functional.avg_pool2d(images, 2))
    images.requires_grad_()
    torch.testing.assert_close(pool(images), torch.nn.functional.avg_pool2d(images, 2))
    assert torch.autograd.gradcheck(pool, images)
    assert torch.autograd.gradgradcheck(pool, images)
