"""AlexNet, VGG-11, ResNets, ViT and the ConvNet's options, beside torchvision's and numpy's."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.data.torchvision_readers import datasets  # noqa: F401 - torchvision can be imported now
from ddcal_core.networks import BatchNorm, build_network, empty_network, initialise
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.networks import NetworkSpec, network_spec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network

# isort: split
from torchvision import models

NAMES = ("convnet", "alexnet", "vgg11", "resnet18", "resnet50", "vit")


def facts_of(image_shape, n_classes=10):
    """Facts of a data set of such images."""
    of_channels = (0.5,) * image_shape[0]
    return DatasetFacts(
        image_shape=image_shape,
        class_names=tuple(f"class {k}" for k in range(n_classes)),
        train_class_counts=(2,) * n_classes,
        test_class_counts=(2,) * n_classes,
        mean=of_channels,
        std=of_channels,
    )


def network_of(image_shape=(3, 32, 32), n_classes=10, draw=0, **options):
    """An initialised network in evaluation mode."""
    spec, facts = NetworkSpec(**options), facts_of(image_shape, n_classes)
    return build_network(spec, facts, seeded_generator(0, "network", draw)).eval()


def images_of(n, image_shape, draw=0):
    """Random images."""
    return torch.randn((n, *image_shape), generator=seeded_generator(draw, "images"))


def n_parameters(network):
    """How many numbers are learned."""
    return sum(parameter.numel() for parameter in network.parameters())


def convolutions(*shapes, has_bias=True):
    """Parameters of convolutions (channels in, out, side of the kernel)."""
    return sum(n_out * (n_in * side**2 + has_bias) for n_in, n_out, side in shapes)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_alexnets_parameters_are_counted_by_hand(n_channels):
    """Five convolutions with biases and a linear layer on 192 channels of 4 x 4."""
    wanted = convolutions(
        (n_channels, 128, 5), (128, 192, 5), (192, 256, 3), (256, 192, 3), (192, 192, 3)
    )
    size = 32 if n_channels == 3 else 28
    network = network_of((n_channels, size, size), network="alexnet")
    assert n_parameters(network) == wanted + 10 * (192 * 4 * 4 + 1)


def test_vggs_parameters_are_counted_by_hand():
    """Eight convolutions with biases, a scale and a shift a channel, a linear layer on 512."""
    widths = (3, 64, 128, 256, 256, 512, 512, 512, 512)
    wanted = convolutions(*((n_in, n_out, 3) for n_in, n_out in pairwise(widths)))
    for norm in ("instance", "batch", "group", "layer"):
        network = network_of(network="vgg11", norm=norm)
        assert n_parameters(network) == wanted + 2 * sum(widths[1:]) + 513 * 10 == 9_231_114
    assert n_parameters(network_of(network="vgg11", norm="none")) == wanted + 513 * 10


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_resnets_parameters_are_as_published(norm):
    """11,173,962 and 23,520,842 for CIFAR-10, as in every report on these forms."""
    assert n_parameters(network_of(network="resnet18", norm=norm)) == 11_173_962
    assert n_parameters(network_of(network="resnet50", norm=norm)) == 23_520_842


@pytest.mark.parametrize(("width", "depth", "heads"), [(128, 4, 4), (32, 2, 8), (5, 1, 1)])
def test_the_transformers_parameters_are_counted_by_hand(width, depth, heads):
    """Patches, class token and positions; per block 4 w^2 of attention and 4 w^2 of MLP."""
    network = network_of(network="vit", width=width, depth=depth, heads=heads)
    tokens = width * (3 * 4 * 4 + 1) + width + 65 * width
    block = 2 * 2 * width + (3 + 1) * width * (width + 1) + 2 * width * (width + 1) * 2 - width
    assert n_parameters(network) == tokens + depth * block + 2 * width + 10 * (width + 1)


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("size", [4, 8, 11, 16, 28, 32, 64])
@pytest.mark.parametrize("name", NAMES)
def test_every_network_sees_images_of_every_size(name, size, n_channels):
    """Logits (N, K), finite, of features that tell two images apart; alone as in a batch."""
    options = {"depth": 2} if name == "convnet" else {}
    network = network_of((n_channels, size, size), 7, network=name, **options)
    images = images_of(2, (n_channels, size, size))
    with torch.no_grad():
        features, logits = network.embed(images), network(images)
        alone = torch.cat([network(image[None]) for image in images])
    assert features.shape == (2, network.classifier.in_features)
    assert (logits.shape, logits.dtype) == ((2, 7), torch.float32)
    assert bool(logits.isfinite().all())
    # A norm over a single pixel would leave nothing of the image: exactly 0.
    assert float((features[0] - features[1]).abs().max()) > 1e-5
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("image_shape", [(3, 8, 24), (1, 9, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_images_need_not_be_square(name, image_shape):
    """The smaller side decides how often an image is halved."""
    options = {"depth": 2} if name == "convnet" else {}
    network = network_of(image_shape, 3, network=name, **options)
    assert network(images_of(2, image_shape)).shape == (2, 3)


def in_order(network, other):
    """Give another network this one's parameters and buffers, one after the other."""
    values = list(network.state_dict().values())
    other.load_state_dict(dict(zip(other.state_dict(), values, strict=True)))
    return other.eval()


def shaken(network, by=0.05):
    """Move every parameter and running statistic away from where it begins."""
    generator = seeded_generator(4)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand(value.shape, generator=generator) * by)
    return network


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_are_torchvisions_without_their_large_stem(name):
    """With a 3 x 3 stem and no first pooling, torchvision's network gives the same logits."""
    # Fifty layers would carry what is added to all weights alike beyond floats.
    by = 0.05 if name == "resnet18" else 0.002
    network = shaken(network_of((3, 16, 16), 5, network=name, norm="batch"), by)
    other = {"resnet18": models.resnet18, "resnet50": models.resnet50}[name](num_classes=5)
    other.conv1, other.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    images = images_of(3, (3, 16, 16))
    with torch.no_grad():
        torch.testing.assert_close(
            network(images), in_order(network, other)(images), rtol=1e-4, atol=1e-4
        )


def test_vgg_is_torchvisions_features_and_a_linear_layer():
    """The VGG-11 of torchvision with batch norm down to one pixel, then one linear layer."""
    network = shaken(network_of((3, 32, 32), 5, network="vgg11", norm="batch"))
    other = models.vgg11_bn(init_weights=False)
    other = nn.Sequential(other.features, nn.Flatten(), nn.Linear(512, 5))
    images = images_of(3, (3, 32, 32))
    with torch.no_grad():
        torch.testing.assert_close(network(images), in_order(network, other)(images))


def test_alexnet_is_its_layers_one_after_the_other():
    """Written out with PyTorch's own layers; grey 28 x 28 images are padded to 32 x 32."""
    network = shaken(network_of((1, 28, 28), 5, network="alexnet"))
    other = nn.Sequential(
        nn.ZeroPad2d(2),
        *(nn.Conv2d(1, 128, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(128, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(192, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 192, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(192, 192, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(192 * 4 * 4, 5)),
    )
    images = images_of(3, (1, 28, 28))
    with torch.no_grad():
        torch.testing.assert_close(network(images), in_order(network, other)(images))


def test_the_transformer_is_torchvisions():
    """The VisionTransformer of torchvision, of the same shape, gives the same logits."""
    options = {"width": 24, "depth": 2, "heads": 3, "patch_size": 4}
    network = shaken(network_of((3, 12, 12), 5, network="vit", **options))
    other = models.VisionTransformer(
        12, 4, 2, 3, hidden_dim=24, mlp_dim=48, num_classes=5, norm_layer=nn.LayerNorm
    )
    mine = dict(network.state_dict())
    class_token, positions = (
        mine.pop("features.tokens.class_token"),
        mine.pop("features.tokens.positions"),
    )
    patches = [mine.pop(f"features.tokens.patches.{name}") for name in ("weight", "bias")]
    values = [class_token, *patches, positions, *mine.values()]
    other.load_state_dict(dict(zip(other.state_dict(), values, strict=True)))
    images = images_of(3, (3, 12, 12))
    with torch.no_grad():
        torch.testing.assert_close(network(images), other.eval()(images))


def test_a_transformer_pads_what_patches_do_not_divide():
    """Zeros below and to the right: the same as the images padded by hand."""
    options = {"network": "vit", "width": 8, "depth": 1, "heads": 2, "patch_size": 4}
    small, large = network_of((1, 6, 7), **options), network_of((1, 8, 8), **options)
    images = images_of(2, (1, 6, 7))
    padded = torch.zeros(2, 1, 8, 8)
    padded[:, :, :6, :7] = images
    with torch.no_grad():
        assert torch.equal(small(images), large(padded))


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
}


def normalised(x, norm):
    """A norm by numpy, scale 1 and shift 0; of batch norm at its first statistics."""
    n, c, h, w = x.shape
    groups = {"instance": c, "group": 4, "layer": 1}.get(norm)
    if groups is None:
        return x / np.sqrt(1 + 1e-5) if norm == "batch" else x
    y = x.reshape(n, groups, -1)
    mean, variance = y.mean(2, keepdims=True), y.var(2, keepdims=True)
    return ((y - mean) / np.sqrt(variance + 1e-5)).reshape(n, c, h, w)


@pytest.mark.parametrize(
    ("norm", "pooling", "activation"),
    [
        ("instance", "max", "leaky_relu"),
        ("batch", "avg", "sigmoid"),
        ("group", "none", "swish"),
        ("layer", "max", "relu"),
        ("none", "avg", "leaky_relu"),
    ],
)
def test_a_convnets_options_do_what_they_say(norm, pooling, activation):
    """One block by numpy: convolution, norm, activation, pooling."""
    options = {"norm": norm, "pooling": pooling, "activation": activation}
    network = network_of((2, 6, 6), 3, width=8, depth=1, **options)
    images = images_of(2, (2, 6, 6))
    weight, bias = (network.features.conv0.get_parameter(name) for name in ("weight", "bias"))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(images.double().numpy(), ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3)
    )
    x = np.einsum("nchwij,ocij->nohw", windows, weight.detach().double().numpy())
    x = normalised(x + bias.detach().double().numpy()[:, None, None], norm)
    x = ACTIVATIONS[activation](x)
    squares = x.reshape(2, 8, 3, 2, 3, 2)
    pooled = {"max": squares.max((3, 5)), "avg": squares.mean((3, 5)), "none": x}[pooling]
    features = network.embed(images).detach().numpy()
    np.testing.assert_allclose(features, pooled.reshape(2, -1), atol=2e-5)


def test_without_pooling_depth_has_no_limit():
    """Twelve blocks on 4 x 4 pixels; with pooling two are the most."""
    network = network_of((1, 4, 4), 3, width=4, depth=12, pooling="none")
    assert network.embed(images_of(2, (1, 4, 4))).shape == (2, 4 * 4 * 4)
    with pytest.raises(ValueError, match="4 x 4 cannot be halved 3 times"):
        network_of((1, 4, 4), 3, width=4, depth=3)


def test_batch_norm_keeps_running_statistics():
    """Training normalises by the batch and moves the statistics a tenth; evaluation uses them."""
    norm = BatchNorm(2)
    images = images_of(5, (2, 3, 3)) * 3 + 1
    mean, variance = images.mean((0, 2, 3)), images.var((0, 2, 3), correction=1)
    own = norm(images).detach()
    torch.testing.assert_close(own.mean((0, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * variance)
    scaled = (images - norm.running_mean.view(2, 1, 1)) / (norm.running_var + 1e-5).sqrt().view(
        2, 1, 1
    )
    torch.testing.assert_close(norm.eval()(images), scaled)


def test_batch_norm_takes_one_value_a_channel():
    """It is normalised by the running statistics and leaves them as they are."""
    norm = BatchNorm(2)
    norm.running_mean.fill_(0.5)
    norm.running_var.fill_(4.0)
    image = images_of(1, (2, 1, 1))
    torch.testing.assert_close(norm(image), (image - 0.5) / (4 + 1e-5) ** 0.5)
    assert norm.running_mean.tolist() == [0.5, 0.5]
    assert int(norm.num_batches_tracked) == 0


@pytest.mark.parametrize("name", ["vgg11", "resnet18", "resnet50", "convnet"])
def test_a_last_batch_of_one_image_is_trained_on(name):
    """Nine images in batches of four, with batch norm; statistics move and stay finite."""
    options = {"width": 4} if name == "convnet" else {}
    lr = 1e-4 if name == "resnet50" else 0.01  # three steps of so deep a network
    spec = TrainSpec(network=name, norm="batch", epochs=1, batch_size=4, lr=lr, **options)
    network = build_network(spec, facts_of((1, 8, 8), 3), seeded_generator(1))
    images, labels = images_of(9, (1, 8, 8)), torch.arange(9) % 3
    before = {key: value.clone() for key, value in network.state_dict().items()}
    train_network(network, images, labels, spec, generator=seeded_generator(2))
    after = network.state_dict()
    moved = [key for key in before if "running" in key and not torch.equal(before[key], after[key])]
    assert len(moved) == sum("running" in key for key in before)
    assert bool(predict_logits(network, images).isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_equal_generators_give_equal_networks(name):
    """Bit for bit, whatever was there before; another draw is another; no global draw is made."""
    options = {"width": 8} if name in ("convnet", "vit") else {}
    before = torch.get_rng_state()
    first, second, other = (
        network_of((3, 8, 8), network=name, draw=k, **options) for k in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        for value in second.state_dict().values():
            value.fill_(3)
    initialise(second, seeded_generator(0, "network", 0))
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_the_transformers_tokens_begin_small():
    """Class token and positions have a standard deviation of 0.02, and differ."""
    tokens = network_of(network="vit").features.tokens
    drawn = torch.cat([tokens.class_token.flatten(), tokens.positions.flatten()]).detach()
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.05)
    assert abs(float(drawn.mean())) < 0.001


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"network": "alexnet", "width": 32}, "width", "wanted an option of alexnet"),
        ({"network": "alexnet", "norm": "batch"}, "norm", "none"),
        ({"network": "resnet18", "depth": 3}, "depth", "resnet18 \\(norm\\), got 3"),
        ({"network": "vgg11", "pooling": "max"}, "pooling", "wanted an option of vgg11"),
        ({"network": "vit", "activation": "relu"}, "activation", "width, depth, heads, patch_size"),
        ({"patch_size": 4}, "patch_size", "wanted an option of convnet"),
        ({"width": 6, "norm": "group"}, "norm", "4 groups divide"),
        ({"network": "vit", "width": 30}, "heads", "a divisor of the width 30, got 4"),
        ({"network": "vit", "width": 32, "heads": 3}, "heads", "a divisor"),
        ({"network": "lenet"}, "network", "convnet"),
    ],
)
def test_options_of_other_networks_are_refused(options, field, words):
    """By the field, with what the network takes; nothing else is said to be wrong."""
    for spec in (NetworkSpec, TrainSpec):
        with pytest.raises(ValidationError, match=words) as caught:
            spec(**options)
        assert [error["loc"] for error in caught.value.errors()] == [(field,)]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_described_by_its_own_options(name):
    """With defaults filled in; read back it is the same, and null is as if left out."""
    spec = NetworkSpec(network=name)
    described = spec.described()
    assert described.pop("name") == name
    assert network_spec({"name": name, **described}) == spec
    assert network_spec({"name": name}) == spec
    dumped = spec.model_dump(mode="json")
    assert NetworkSpec.model_validate(dumped) == spec
    unset = {field for field, value in dumped.items() if value is None and field != "patch_size"}
    assert unset.isdisjoint(described)


def test_networks_stored_before_they_had_options_are_read():
    """A config of name, width and depth is the ConvNet as it was."""
    spec = network_spec({"name": "convnet", "width": 4, "depth": 2})
    assert (spec.norm, spec.pooling, spec.activation) == ("instance", "avg", "relu")
    names = list(empty_network(spec, facts_of((1, 8, 8))).state_dict())
    assert names[:4] == [
        "features.conv0.weight",
        "features.conv0.bias",
        "features.norm0.weight",
        "features.norm0.bias",
    ]
    with pytest.raises(ValueError, match="network"):
        network_spec({"width": 4})


def test_a_patch_larger_than_the_image_is_refused():
    """In numbers."""
    with pytest.raises(ValueError, match=r"patch size of at most 8 .* 8 x 12, got 9"):
        network_of((1, 8, 12), network="vit", patch_size=9)


@pytest.mark.parametrize("network", NAMES)
def test_every_network_takes_images_of_256_pixels(network):
    """The largest that uploads may have."""
    facts = NAMED_DATASETS["cifar10"].model_copy(update={"image_shape": (3, 256, 256)})
    spec = NetworkSpec(network=network)
    made = build_network(spec, facts, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        assert made(torch.zeros(1, 3, 256, 256)).shape == (1, 10)
