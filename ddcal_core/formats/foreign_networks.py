"""Networks made elsewhere as modules that read what ours read: images in the standard space."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddcal_core.data.network_images import by_batch
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.imported_networks import NetworkReading
from ddcal_core.formats.onnx_sessions import open_session
from ddcal_core.networks import empty_network
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.foreign_networks import AnyNetwork
from ddcal_core.specs.networks import NetworkSpec

SMALLEST = torch.finfo(torch.float32).tiny
"""What a probability below it counts as, before its logarithm is taken."""
_MOST_NUMBERS = 1 << 22  # of the images that a network is given at once: 16 MiB


class Preparation(nn.Module):
    """Images of a data set in the standard space -> what a network made elsewhere reads.

    All of it is linear, so that it is the same whether a network is asked here or from a file of
    its own: (rows image columns) scale + shift, channel by channel.

    Args:
        facts: of the data set, with the mean and std of the space.
        reading: how the network is read.
    """

    rows: Tensor
    columns: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, facts: DatasetFacts, reading: NetworkReading) -> None:
        super().__init__()
        own_channels, own_height, own_width = facts.image_shape
        self.n_channels, height, width = reading.input_shape
        self.is_resized = (own_height, own_width) != (height, width)
        self.is_repeated = own_channels != self.n_channels
        self.is_last = reading.layout == "nhwc"
        self.register_buffer("rows", stretching(own_height, height))
        self.register_buffer("columns", stretching(own_width, width).T.contiguous())
        mean, std = torch.tensor(facts.mean), torch.tensor(facts.std)
        wanted_mean, wanted_std = torch.tensor(reading.mean), torch.tensor(reading.std)
        per_channel = (1, self.n_channels, 1, 1)
        scale, shift = std / wanted_std, (mean - wanted_mean) / wanted_std
        self.register_buffer("scale", scale.expand(self.n_channels).reshape(per_channel))
        self.register_buffer("shift", shift.expand(self.n_channels).reshape(per_channel))
        self.is_rescaled = bool((self.scale != 1).any() or (self.shift != 0).any())

    def forward(self, images: Tensor) -> Tensor:
        """Give the network's input of images float32 (N, C, H, W), standard space."""
        if self.is_resized:
            images = self.rows @ images @ self.columns
        if self.is_repeated:
            images = images.expand(-1, self.n_channels, -1, -1)
        if self.is_rescaled:
            images = images * self.scale + self.shift
        return images.permute(0, 2, 3, 1) if self.is_last else images


def stretching(size: int, wanted: int) -> Tensor:
    """The matrix float32 (wanted, size) that resamples a column of pixels, bilinear, antialiased.

    It is torch's `interpolate` itself, of the columns that are 0 but for a single 1.
    """
    columns = torch.eye(size)[None, None]
    resampled: Tensor = F.interpolate(
        columns, (wanted, size), mode="bilinear", antialias=True, align_corners=False
    )
    return resampled[0, 0]


class Answers(nn.Module):
    """What a network made elsewhere answers -> logits (N, K), column k of label k.

    Args:
        reading: how its outputs are read.
    """

    columns: Tensor

    def __init__(self, reading: NetworkReading) -> None:
        super().__init__()
        self.are_probabilities = reading.outputs == "probabilities"
        self.is_ordered = reading.columns is None
        self.register_buffer("columns", torch.tensor(reading.columns or (), dtype=torch.int64))

    def forward(self, answers: Tensor) -> Tensor:
        """Give logits of answers (N, K)."""
        logits = answers.clamp_min(SMALLEST).log() if self.are_probabilities else answers
        return logits if self.is_ordered else logits[:, self.columns]


class ForeignModel(nn.Module):
    """A network made elsewhere with all that stands between it and images in the standard space.

    Args:
        network: its input -> its answers.
        facts: of the data set, with the mean and std of the space.
        reading: how the network is read.
    """

    def __init__(self, network: nn.Module, facts: DatasetFacts, reading: NetworkReading) -> None:
        super().__init__()
        self.reading = reading
        self.preparation, self.network = Preparation(facts, reading), network
        self.answers = Answers(reading)

    def forward(self, images: Tensor) -> Tensor:
        """Give logits float32 (N, K) of images float32 (N, C, H, W), standard space."""
        logits: Tensor = self.answers(self.network(self.preparation(images)))
        return logits


class ForeignAnswers(nn.Module):
    """What a network made elsewhere answers itself, before anything is made of that.

    Args:
        model: the network.
    """

    def __init__(self, model: ForeignModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Give its answers to images float32 (N, C, H, W), standard space."""
        answers: Tensor = self.model.network(self.model.preparation(images))
        return answers


class InParts(nn.Module):
    """A network that is given a few images at once, however many it is asked of.

    Small images of a data set may be large ones to a network: 128 of 224 pixels a side, and all
    that is computed of them, would take gigabytes.

    Args:
        model: the network.
        n_at_once: images at once.
    """

    def __init__(self, model: ForeignModel, n_at_once: int) -> None:
        super().__init__()
        self.model, self.n_at_once = model, n_at_once

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (N, K) of images (N, C, H, W)."""
        return by_batch(self.model, images, batch_size=self.n_at_once)


def in_parts(model: ForeignModel) -> InParts:
    """Ask a network of so many images at once as take 16 MiB, or of one."""
    n_numbers = torch.Size(model.reading.input_shape).numel()
    return InParts(model, max(1, _MOST_NUMBERS // n_numbers))


class OnnxNetwork(nn.Module):
    """A graph of ONNX, run by ONNX Runtime on the CPU wherever its images are; no gradients.

    Args:
        path: of the file, which has been looked at by `onnx_checks`.
        batch: the number of images that it is fixed to; None: any.
    """

    def __init__(self, path: Path, batch: int | None) -> None:
        super().__init__()
        self._session = open_session(path, n_threads=torch.get_num_threads())
        (self._input,) = self._session.get_inputs()
        self._batch = batch

    def forward(self, images: Tensor) -> Tensor:
        """Give float32 (N, K) of images as the graph has them, on their device."""
        if self._batch is None:
            return self._run(images)
        return by_batch(partial(self._run_filled, self._batch), images, batch_size=self._batch)

    def _run_filled(self, batch: int, images: Tensor) -> Tensor:
        """Ask of as many images as it is fixed to, the last one again."""
        filled = torch.cat([images, images[-1:].expand(batch - len(images), -1, -1, -1)])
        return self._run(filled)[: len(images)]

    def _run(self, images: Tensor) -> Tensor:
        given = images.detach().cpu().contiguous().numpy()
        answers: Any = self._session.run(None, {self._input.name: given})[0]
        return torch.from_numpy(answers).to(images.device)


def foreign_model(network: nn.Module, reading: NetworkReading, facts: DatasetFacts) -> ForeignModel:
    """Put what stands between it and a data set around a network made elsewhere.

    Args:
        network: its input -> its answers; on the CPU.
        reading: how it is read.
        facts: of the data set, with the mean and std of the space.

    Returns:
        Images in the standard space -> logits, on the CPU, in evaluation mode.
    """
    return ForeignModel(network.requires_grad_(False), facts, reading).eval()


def foreign_module(
    parameters: Mapping[str, Tensor],
    network: AnyNetwork,
    input_shape: tuple[int, int, int],
    facts: DatasetFacts,
) -> nn.Module:
    """Give a network of a known kind the parameters that came from elsewhere.

    Args:
        parameters: under the names of its state_dict; float16 and bfloat16 become float32.
        network: which one, no graph.
        input_shape: (C, H, W) that it reads.
        facts: of the data set, whose classes it tells apart.

    Returns:
        On the CPU.

    Raises:
        InvalidDataError: they are not those of that network, or not finite.
    """
    module = _empty(network, input_shape, facts)
    wanted, name = module.state_dict(), network.described()["name"]
    for what, found in (
        ("lacks", wanted.keys() - parameters.keys()),
        ("has none such as", parameters.keys() - wanted.keys()),
    ):
        if found:
            shown = ", ".join(sorted(found)[:5])
            raise InvalidDataError(
                f"wanted the {len(wanted)} parameters of {name}, by the names of its state_dict; "
                + (f"the file lacks {shown}" if what == "lacks" else f"it has no {shown}")
            )
    kept = {key: _parameter(key, parameters[key], value) for key, value in wanted.items()}
    module.load_state_dict(kept, assign=True)
    return module


def _parameter(key: str, got: Tensor, wanted: Tensor) -> Tensor:
    if got.shape != wanted.shape or got.is_floating_point() != wanted.is_floating_point():
        raise InvalidDataError(
            f"{key}: wanted {wanted.dtype} of shape {tuple(wanted.shape)}; got {got.dtype} of "
            f"shape {tuple(got.shape)}"
        )
    converted = got.to(wanted.dtype)
    if not bool(converted.isfinite().all()):
        raise InvalidDataError(f"{key}: wanted finite numbers; got NaN or infinities")
    return converted


def _empty(
    network: AnyNetwork, input_shape: tuple[int, int, int], facts: DatasetFacts
) -> nn.Module:
    """A network whose parameters are to be put in."""
    if isinstance(network, NetworkSpec):
        return empty_network(network, facts.model_copy(update={"image_shape": input_shape}))
    # By need: torchvision takes a second to import, and few jobs have such a network.
    from ddcal_core.data.torchvision_readers import torchvision_network  # noqa: PLC0415

    return torchvision_network(network.network, facts.n_classes)
