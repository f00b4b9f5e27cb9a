"""Calibrated networks as ONNX: ONNX Runtime alone gives the network's own numbers."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ddcal_core.data.input_space import fit_space
from ddcal_core.errors import FoldingError
from ddcal_core.formats.onnx_models import write_onnx
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.networks import NetworkSpec
from ddcal_core.specs.spaces import StandardSpace, ZcaSpace
from tests.core.formats.test_network_files import space_of


def network_of(space, **options):
    """A network as it is drawn."""
    spec = NetworkSpec(**options)
    return build_network(spec, space.facts, seeded_generator(0)).eval()


def run(path, pixels):
    """Both outputs, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["probabilities", "logits"], {"pixels": pixels.numpy()})


@pytest.mark.long
@pytest.mark.parametrize(
    ("image_shape", "options"),
    [
        ((1, 8, 8), {"width": 8, "depth": 1}),
        ((1, 28, 28), {"width": 8, "norm": "batch", "pooling": "max", "activation": "swish"}),
        ((3, 8, 8), {"network": "alexnet"}),
        ((1, 8, 8), {"network": "vgg11", "norm": "layer"}),
        ((3, 16, 16), {"network": "resnet18", "norm": "group"}),
        ((1, 8, 8), {"network": "vit", "width": 16, "depth": 1}),
    ],
)
def test_every_network_is_its_onnx(image_shape, options, tmp_path):
    """Both outputs, of any number of images."""
    space, path = space_of(image_shape), tmp_path / "model.onnx"
    network = network_of(space, **options)
    write_onnx(network, space, path, temperature=2.5)
    for n in (1, 4):
        pixels = torch.rand((n, *image_shape), generator=seeded_generator(n))
        with torch.no_grad():
            logits = network(space(pixels))
        probabilities, raw = run(path, pixels)
        np.testing.assert_allclose(raw, logits, rtol=0, atol=1e-4)
        np.testing.assert_allclose(probabilities, torch.softmax(logits / 2.5, 1), atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("spec", [StandardSpace(name="standard"), ZcaSpace(name="zca")])
def test_a_scaling_and_a_whitening_are_folded_in(spec, tmp_path):
    """Weights and biases of logits less their mean, of pixels whitened within."""
    facts = space_of((1, 8, 8)).facts
    images = (torch.rand((40, 1, 8, 8), generator=seeded_generator(1)) * 255).byte()
    space, path = fit_space(spec, images, facts), tmp_path / "model.onnx"
    network = network_of(space, width=4, depth=1)
    weights, biases = [0.5, 1.5, 2.0], [0.1, -0.2, 0.3]
    write_onnx(network, space, path, weights=weights, biases=biases)
    pixels = images[:5].float() / 255
    with torch.no_grad():
        logits = network(space(pixels))
    centred = logits - logits.mean(1, keepdim=True)
    wanted = torch.softmax(centred * torch.tensor(weights) + torch.tensor(biases), 1)
    np.testing.assert_allclose(run(path, pixels)[0], wanted, atol=1e-5)


@pytest.mark.long
def test_the_file_says_nothing_of_where_it_was_made(tmp_path):
    """The same bytes each time, checked by ONNX, without traces of code or folders."""
    space, path = space_of((1, 8, 8)), tmp_path / "model.onnx"
    network = network_of(space, width=4, depth=1)
    write_onnx(network, space, path)
    held = path.read_bytes()
    write_onnx(network, space, path)
    assert path.read_bytes() == held
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert b"ddcal_core" not in held
    assert b".py" not in held


@pytest.mark.long
def test_other_answers_are_no_file(tmp_path):
    """A network that the exporter does not understand is not written."""

    class TwoFaced(torch.nn.Module):
        def forward(self, images):
            factor = 2 if torch.compiler.is_exporting() else 1
            return images.flatten(1)[:, :3] * factor

    space, path = space_of((1, 8, 8)), tmp_path / "model.onnx"
    with pytest.raises(FoldingError, match=r"the (logits|probabilities) of the network"):
        write_onnx(TwoFaced(), space, path)
    assert not path.exists()
