"""What is stored of a set of experts beside its file."""

from typing import Literal

from ddcal_core.formats.manifests import MadeWith, Split
from ddcal_core.formats.records import Record
from ddcal_core.specs.experts import ExpertSpec
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.spaces import InputSpaceSpec


class ExpertNetwork(Record):
    """The network of experts, by what it has to have in common with the one distilled on.

    Attributes:
        name: of the architecture.
        width: channels of each block.
        depth: blocks.
    """

    name: Literal["convnet"]
    width: int
    depth: int


class ExpertSetRecord(Record):
    """A set of experts, what its file says of itself included.

    Attributes:
        dataset: its name.
        split: which images are real training images, and which validation images.
        n_real_images: real images trained on.
        real_class_counts: of these, of each class.
        format: for other programs.
        input_space: what the networks read of pixels.
        network: what was trained.
        facts: all that is known of the data set.
        seed: of the job.
        experts: how they were trained.
        n_parameters: of one network.
        n_experts: how many there are.
        epochs: after each of which a snapshot was kept, and before the first.
        n_bytes: of the file.
        seconds: of the training.
        made_with: torch and device.
    """

    dataset: str
    split: Split
    n_real_images: int
    real_class_counts: tuple[int, ...]
    format: str
    input_space: InputSpaceSpec
    network: ExpertNetwork
    facts: DatasetFacts
    seed: int
    experts: ExpertSpec
    n_parameters: int
    n_experts: int
    epochs: int
    n_bytes: int
    seconds: float
    made_with: MadeWith
