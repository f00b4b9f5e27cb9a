"""Every network in the formats people load: parameters with a config, and a program of any N."""

import pytest
import torch

from ddcal_core.data.input_space import Standard
from ddcal_core.formats.models import export_program, read_model, save_program, write_model
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.networks import NetworkSpec
from tests.core.formats.stored import model_provenance


def space_of(image_shape):
    """Pixels normalised by channel, of a data set of three classes."""
    of_channels = (0.4,) * image_shape[0]
    facts = DatasetFacts(
        image_shape=image_shape,
        class_names=("a", "b", "c"),
        train_class_counts=(2, 2, 2),
        test_class_counts=(2, 2, 2),
        mean=of_channels,
        std=of_channels,
    )
    return Standard(facts)


@pytest.mark.long
@pytest.mark.parametrize(
    ("image_shape", "options"),
    [
        ((1, 28, 28), {"norm": "batch", "pooling": "max", "activation": "swish"}),
        ((1, 8, 8), {"network": "alexnet"}),
        ((3, 64, 64), {"network": "alexnet"}),
        ((1, 8, 8), {"network": "vgg11", "norm": "layer"}),
        ((3, 32, 32), {"network": "resnet18", "norm": "batch"}),
        ((3, 64, 64), {"network": "vit", "width": 16, "depth": 2}),
        ((1, 28, 28), {"network": "vit", "width": 16, "depth": 1, "patch_size": 5}),
    ],
)
def test_models_and_programs_are_the_network(image_shape, options, tmp_path):
    """Read from its files to the bit; as a program of any N up to rounding."""
    spec, space = NetworkSpec(**options), space_of(image_shape)
    network = build_network(spec, space.facts, seeded_generator(0)).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "running" in name:  # as if it had been trained
                value.add_(torch.rand(value.shape, generator=seeded_generator(1)))
    provenance = model_provenance(network=spec.described())
    config = write_model(tmp_path, network, space=space, provenance=provenance)
    again = read_model(tmp_path / "model.safetensors", config)
    save_program(export_program(again, space), 2.5, tmp_path / "calibrated_model.pt2")
    run = torch.export.load(tmp_path / "calibrated_model.pt2").module()
    with torch.no_grad():
        for n in (1, 2, 5):
            pixels = torch.rand((n, *image_shape), generator=seeded_generator(n))
            logits = network(space(pixels))
            assert torch.equal(again(space(pixels)), logits)
            # The program takes the mean off the logits first: rounding is all that differs.
            wanted = torch.softmax(logits / 2.5, 1)
            torch.testing.assert_close(run(pixels), wanted, rtol=0, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("options", [{"width": 4, "depth": 1}, {"network": "vit", "width": 4}])
def test_a_program_is_the_same_file_each_time(options, tmp_path):
    """Exported and saved twice under one name, byte for byte."""
    space = space_of((1, 8, 8))
    network = build_network(NetworkSpec(**options), space.facts, seeded_generator(0)).eval()
    paths = [tmp_path / name / "calibrated_model.pt2" for name in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        save_program(export_program(network, space), 0.5, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
