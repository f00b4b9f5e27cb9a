"""The networks of this field, in their small-image forms."""

from ddcal_core.networks.building import build_network, empty_network, initialise
from ddcal_core.networks.convnet import BlockLayers, ConvNet
from ddcal_core.networks.deeper import AlexNet, ResNet18, Vgg11
from ddcal_core.networks.layers import BatchNorm, MeanPool, Network
from ddcal_core.networks.transformer import VisionTransformer

__all__ = [
    "AlexNet",
    "BatchNorm",
    "BlockLayers",
    "ConvNet",
    "MeanPool",
    "Network",
    "ResNet18",
    "Vgg11",
    "VisionTransformer",
    "build_network",
    "empty_network",
    "initialise",
]
