"""Networks are told apart in labels and sentences, and only where there is something to tell."""

import pytest

from ddcal_core.specs.foreign_networks import ForeignNetwork
from ddcal_core.specs.networks import network_spec
from ddcal_core.specs.regularisers import Cutmix, Cutout
from ddcal_core.specs.training import TrainSpec
from tests.core.formats.stored import model_config, set_manifest
from worker.trainer.inputs import ModelInput, SetInput
from worker.trainer.report.network_words import (
    Told,
    augmentation_words,
    network_suffixes,
    network_words,
)
from worker.trainer.report.training_sets import group_models

CONVNET = {"name": "convnet", "width": 32, "depth": 3}
RESNET = {"name": "resnet18", "norm": "instance"}


def trained(network, **train):
    """What a suffix is made of."""
    return Told(network_spec(network), TrainSpec(**train))


@pytest.mark.parametrize(
    ("networks", "suffixes"),
    [
        ([CONVNET, CONVNET], ["", ""]),
        # One stored before there were options beside one that names them all.
        ([CONVNET, {**CONVNET, "norm": "instance", "pooling": "avg"}], ["", ""]),
        ([RESNET, RESNET], ["ResNet-18", "ResNet-18"]),
        ([CONVNET, RESNET, {"name": "vgg11"}], ["ConvNet", "ResNet-18", "VGG-11"]),
        (
            [CONVNET, {**CONVNET, "width": 64}, {"name": "alexnet"}],
            ["ConvNet (width 32)", "ConvNet (width 64)", "AlexNet"],
        ),
        (
            [RESNET, {**RESNET, "norm": "batch"}, {**RESNET, "norm": "none"}],
            ["ResNet-18 (instance norm)", "ResNet-18 (batch norm)", "ResNet-18 (no norm)"],
        ),
        (
            [{"name": "vit"}, {"name": "vit", "heads": 2, "depth": 1}],
            ["ViT (depth 4, 4 heads)", "ViT (depth 1, 2 heads)"],
        ),
    ],
)
def test_a_suffix_says_what_differs(networks, suffixes):
    """Names where they differ, options where those of one name do."""
    assert network_suffixes([trained(network) for network in networks]) == suffixes


def test_augmentation_is_told_where_only_some_have_it():
    """Where all or none have it, it tells no two apart."""
    plain, augmented = trained(CONVNET, augmentation=()), trained(CONVNET, augmentation=("flip",))
    assert network_suffixes([plain, augmented]) == ["", "augmented"]
    assert network_suffixes([augmented, augmented]) == ["", ""]
    resnet = trained(RESNET, augmentation=("flip",))
    assert network_suffixes([plain, resnet]) == ["ConvNet", "ResNet-18, augmented"]


def test_what_was_made_elsewhere_is_told_as_such():
    """By its name always, whatever stands beside it; nothing is known of its training."""
    graph = Told(ForeignNetwork(network="onnx"), None, is_imported=True)
    own = Told(network_spec(CONVNET), None, is_imported=True)
    assert network_suffixes([graph]) == ["ONNX network, imported"]
    assert network_suffixes([own]) == ["ConvNet, imported"]
    assert network_suffixes([trained(CONVNET), own]) == ["", "ConvNet, imported"]
    assert network_suffixes([trained(CONVNET), graph]) == ["ConvNet", "ONNX network, imported"]
    assert network_words(ForeignNetwork(network="torchvision.vit_b_16")) == "torchvision's ViT-B/16"


def test_sentences_name_every_option():
    """As the method section has them."""
    assert network_words(network_spec(CONVNET)) == (
        "ConvNet (width 32, depth 3, instance norm, avg pooling, relu)"
    )
    assert network_words(network_spec({"name": "alexnet"})) == "AlexNet"
    leaky = network_spec({"name": "convnet", "activation": "leaky_relu"})
    assert network_words(leaky).endswith("leaky relu)")
    words = network_words(network_spec({"name": "vit", "patch_size": 5}))
    assert words == "ViT (width 128, depth 4, 4 heads, patches of 5)"
    assert network_words(network_spec({"name": "vit"})).endswith("patches of default size)")
    assert augmentation_words(TrainSpec()) == "no augmentation"
    assert augmentation_words(TrainSpec(augmentation=("flip", "crop"))).endswith("of flip, crop")
    cut = TrainSpec(regulariser=Cutout(name="cutout"))
    assert augmentation_words(cut) == "no augmentation, cutout of 0.5 of the side"


def test_regularisers_are_told_of_networks_and_sets():
    """In labels, so that two that differ by them alone are told apart."""
    cutmix = Cutmix(name="cutmix").model_dump()
    manifest = set_manifest(mask_ratio=0.0, distill={"iterations": 3, "regulariser": cutmix})
    models = [
        ModelInput(
            id=f"mdl_{k}",
            path="/nowhere",
            config=model_config(
                training_set="distilled", distilled_set_id="set_1", images_per_class=10, train=train
            ),
        )
        for k, train in enumerate(
            [{}, {"regulariser": {"name": "mixup"}, "loss": {"name": "focal"}}]
        )
    ]
    groups = group_models(models, {"set_1": SetInput(id="set_1", path="/", manifest=manifest)})
    label = "distilled (DM, cutmix, α = 1, 10 per class)"
    further = "focal loss, γ = 3, mixup, α = 0.2"
    assert [group.label for group in groups] == [label, f"{label}, {further}"]
    assert groups[1].images == f"10 distilled images per class with {further}"


def test_networks_on_one_set_are_training_sets_of_their_own():
    """Labels of three networks on one distilled set, and of one more seed of the first."""
    manifest = set_manifest(mask_ratio=0.0, distill={"iterations": 3})
    models = [
        ModelInput(
            id=f"mdl_{k}",
            path="/nowhere",
            config=model_config(
                training_set="distilled",
                distilled_set_id="set_1",
                images_per_class=10,
                n_train=100,
                seed_index=k,
                network=network,
                train=train,
            ),
        )
        for k, (network, train) in enumerate(
            [(CONVNET, {}), (RESNET, {}), ({"name": "vit"}, {}), (CONVNET, {"n_seeds": 9})]
        )
    ]
    sets = {"set_1": SetInput(id="set_1", path="/nowhere", manifest=manifest)}
    groups = group_models(models, sets)
    assert [group.label for group in groups] == [
        "distilled (DM, 10 per class), ConvNet",
        "distilled (DM, 10 per class), ResNet-18",
        "distilled (DM, 10 per class), ViT",
    ]
    assert groups[1].images == "10 distilled images per class (ResNet-18)"
    assert [model.id for model in groups[0].models] == ["mdl_0", "mdl_3"]
