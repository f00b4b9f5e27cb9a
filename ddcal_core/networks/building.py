"""Networks by name, and their first parameters."""

from typing import Protocol, assert_never, overload

import torch
from torch import nn

from ddcal_core.networks.convnet import BlockLayers, ConvNet
from ddcal_core.networks.deeper import AlexNet, ResNet18, ResNet50, Vgg11
from ddcal_core.networks.layers import Network
from ddcal_core.networks.transformer import Tokens, VisionTransformer
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.networks import NetworkSpec, default_patch_size

_Normed = nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d


class ConvNetShape(Protocol):
    """What says how wide and deep a ConvNet of the published kind is; specs of distillation do."""

    @property
    def width(self) -> int:
        """Channels of each block."""

    @property
    def depth(self) -> int:
        """Number of blocks."""


@overload
def build_network(
    spec: NetworkSpec, facts: DatasetFacts, generator: torch.Generator
) -> Network: ...
@overload
def build_network(
    spec: ConvNetShape, facts: DatasetFacts, generator: torch.Generator
) -> ConvNet: ...
def build_network(
    spec: NetworkSpec | ConvNetShape, facts: DatasetFacts, generator: torch.Generator
) -> Network:
    """An initialised network for a data set.

    Args:
        spec: which one, with its options; or the width and depth of a ConvNet as published.
        facts: image shape and number of classes.
        generator: a CPU generator for the parameters.

    Returns:
        The network, float32, on the CPU, in training mode.

    Raises:
        ValueError: the images are too small for it.
    """
    if isinstance(spec, NetworkSpec):
        network = empty_network(spec, facts)
    else:
        n_channels, height, width = facts.image_shape
        size = (height, width)
        network = ConvNet(n_channels, facts.n_classes, size, spec.width, spec.depth)
    initialise(network, generator)
    return network


def empty_network(spec: NetworkSpec, facts: DatasetFacts) -> Network:
    """A network whose parameters hold nothing yet; see `build_network`."""
    n_channels, height, width = facts.image_shape
    of_data = (n_channels, facts.n_classes, (height, width))
    options = spec.described()
    match spec.network:
        case "convnet":
            layers = BlockLayers(options["norm"], options["activation"], options["pooling"])
            return ConvNet(*of_data, options["width"], options["depth"], layers)
        case "alexnet":
            return AlexNet(*of_data)
        case "vgg11":
            return Vgg11(*of_data, options["norm"])
        case "resnet18":
            return ResNet18(*of_data, options["norm"])
        case "resnet50":
            return ResNet50(*of_data, options["norm"])
        case "vit":
            patch_size = options["patch_size"] or default_patch_size(facts.image_shape)
            shape = (options["width"], options["depth"], options["heads"])
            return VisionTransformer(*of_data, *shape, patch_size)
        case _:
            assert_never(spec.network)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw fresh parameters in place, from PyTorch's default distributions.

    Convolution and linear layers: weights and biases uniform on +-1 / sqrt(fan in); norms: scale
    1, shift 0, running mean 0 and variance 1; class token and positions of a transformer: normal,
    deviation 0.02. Nothing is drawn from PyTorch's global generator.

    Args:
        network: of such layers, on any device.
        generator: a CPU generator; layers draw in their order, weight before bias.

    Raises:
        TypeError: another kind of layer has parameters.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _draw_uniform(module, generator)
        elif isinstance(module, _Normed):
            module.reset_parameters()
        elif isinstance(module, Tokens):
            module.draw_parameters(generator)
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"no initial distribution is known for {type(module).__name__}")


def _draw_uniform(layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    # What PyTorch's default, kaiming_uniform with a = sqrt(5), comes to for these layers.
    bound = float(layer.weight[0].numel()) ** -0.5
    for parameter in (layer.weight, layer.bias):
        if parameter is not None:
            # On the CPU, whatever the device, so that every device starts from the same numbers.
            drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
            with torch.no_grad():
                parameter.copy_(drawn)
