"""What a service has made, as PyTorch has it: a distilled set as a Dataset, a model to be called.

Both are read from downloaded folders, without a service:

    images = ddcal.torch.load_set("results/distill")
    model = ddcal.torch.load_model("results/calibrate-distilled/ts-validation/seed-0")
    probabilities = model(pixels)
"""

import json
from pathlib import Path
from typing import Any, assert_never

from ddcal.errors import MissingExtraError
from ddcal.shelf import load_set as shelved_set
from ddcal.shelf import set_names

try:
    from torch import Tensor, nn
    from torch.utils.data import Dataset

    from ddcal_core.calibration.ensemble import EnsembleScaling
    from ddcal_core.calibration.isotonic import IsotonicScaling
    from ddcal_core.calibration.vector_scaling import VectorScaling
    from ddcal_core.data.input_space import InputSpace
    from ddcal_core.errors import InvalidDataError
    from ddcal_core.formats.calibrations import (
        EnsembleScalingFile,
        IsotonicScalingFile,
        VectorScalingFile,
        read_scaling_file,
    )
    from ddcal_core.formats.manifests import CalibratedModelConfig, ModelConfig, SetManifest
    from ddcal_core.formats.models import (
        INPUT_SPACE_FILE,
        model_file,
        read_input_space,
        read_model,
    )
    from ddcal_core.formats.records import read_record
    from ddcal_core.formats.sets import read_distilled_set
    from ddcal_core.metrics import probabilities_at
except ImportError as error:
    raise MissingExtraError("ddcal.torch", "worker") from error

SET_FILE = "distilled_set.safetensors"
MANIFEST_FILE = "manifest.json"
CONFIG_FILE = "config.json"
SCALING_FILE = "scaling.json"


class DistilledSet(Dataset[tuple[Tensor, Tensor]]):
    """A distilled set: images in network-input space with their labels.

    Attributes:
        images: float32 (M, C, H, W), network-input space.
        labels: int64 (M,); with soft labels the class that each gives most to.
        soft_labels: float32 (M, K), rows adding up to 1; None where labels are hard.
        class_names: of label 0, 1, ...
        train_with: how networks are trained on it unless told otherwise.
        space: pixels -> network input, and back.
        manifest: all that is known of it.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = read_record(SetManifest, _read_json(folder / MANIFEST_FILE))
        self.space: InputSpace = read_input_space(folder / SET_FILE, self.manifest)
        stored = read_distilled_set(folder / SET_FILE, self.manifest.facts)
        self.images, self.labels = stored.images, stored.labels
        self.soft_labels = stored.soft_labels
        self.class_names = self.manifest.class_names
        self.train_with = self.manifest.train_with

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.images.shape[1:]))
        return f"<DistilledSet: {len(self)} images {shape} of {len(self.class_names)} classes>"

    def __len__(self) -> int:
        """M."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """An image (C, H, W) with its label, a soft one (K,) where labels are soft."""
        labels = self.labels if self.soft_labels is None else self.soft_labels
        return self.images[index], labels[index]

    def pixels(self) -> Tensor:
        """The images as pixels, float32 (M, C, H, W); learned ones may leave [0, 1]."""
        return self.space.back(self.images)


class CalibratedModel(nn.Module):
    """A network that takes pixels, with what its calibration has found applied.

    Attributes:
        class_names: of column 0, 1, ...
        temperature: T; None where more than one number was fitted.
        config: all that is known of it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        held = _read_json(folder / CONFIG_FILE)
        kind = CalibratedModelConfig if "calibration" in held else ModelConfig
        self.config = read_record(kind, held)
        self.class_names = self.config.class_names
        self._scaling = _read_scaling(folder / SCALING_FILE)
        self.temperature = _temperature_of(self.config)
        if self.temperature is None and self._scaling is None:
            status = _status_of(self.config)
            raise InvalidDataError(
                f"wanted a calibration with something to apply in {folder}; got status {status}: "
                "the network as it was trained is with the job that trained it"
            )
        self.network = read_model(folder / model_file(self.config), self.config)
        self.space: InputSpace = read_input_space(folder / INPUT_SPACE_FILE, self.config)

    def logits(self, pixels: Tensor) -> Tensor:
        """What the network answers, before any calibration: (N, K).

        Args:
            pixels: float32 (N, C, H, W) in [0, 1].
        """
        answer: Tensor = self.network(self.space(pixels))
        return answer

    def forward(self, pixels: Tensor) -> Tensor:
        """Calibrated probabilities, float32 (N, K), rows adding up to 1.

        Args:
            pixels: float32 (N, C, H, W) in [0, 1].
        """
        logits = self.logits(pixels)
        if self._scaling is not None:
            return self._scaling.apply(logits).float()
        assert self.temperature is not None  # one of the two is there
        return probabilities_at(logits, self.temperature).float()


def load_set(folder: str | Path) -> DistilledSet:
    """Read the distilled set in a downloaded folder, or one that comes with the package.

    Args:
        folder: of a distillation, or of a pipeline, whose `distill` is then meant; or the name of
            a set on the shelf, see `ddcal.set_names`.

    Raises:
        InvalidDataError: what lies there is none.
        FileNotFoundError: nothing does.
    """
    if isinstance(folder, str) and folder in set_names() and not Path(folder).exists():
        folder = shelved_set(folder).path
    here = Path(folder)
    within = here / "distill"
    return DistilledSet(within if (within / SET_FILE).exists() else here)


def load_model(folder: str | Path) -> CalibratedModel:
    """Read the network in a downloaded folder, on the CPU and for evaluation.

    Args:
        folder: of one network: of a training, then T = 1, or of a calibration of it.

    Raises:
        InvalidDataError: what lies there is none, or its calibration has found nothing to apply.
        FileNotFoundError: nothing does.
    """
    return CalibratedModel(Path(folder)).eval().requires_grad_(False)


def _temperature_of(config: ModelConfig) -> float | None:
    return config.temperature if isinstance(config, CalibratedModelConfig) else 1.0


def _status_of(config: ModelConfig) -> str:
    return config.calibration.status if isinstance(config, CalibratedModelConfig) else "ok"


def _read_scaling(path: Path) -> VectorScaling | IsotonicScaling | EnsembleScaling | None:
    if not path.exists():
        return None
    held = read_scaling_file(path)
    match held:
        case VectorScalingFile():
            return VectorScaling(held.weights, held.biases, held.masked_gap)
        case IsotonicScalingFile():
            return IsotonicScaling(held.probabilities, held.shares)
        case EnsembleScalingFile():
            return EnsembleScaling(held.ensemble_temperature, held.ensemble_weights)
        case _:
            assert_never(held)


def _read_json(path: Path) -> dict[str, Any]:
    held = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(held, dict):
        raise InvalidDataError(f"wanted an object in {path.name}; got {type(held).__name__}")
    return held
