"""The cases of `benchmarks.mask_study`, and how a service is asked for one.

A case is a data set, images per class and a seed: one pipeline, which distils by DM, trains one
network on the distilled set and one on as many random real images, and draws MTS curves of both.
"""

from dataclasses import dataclass
from typing import Any

DATASETS = ("fashion_mnist", "cifar10", "digits", "mnist")
IMAGES_PER_CLASS = (10, 1, 50)
SEEDS = (0, 1, 2)
N_TRAIN, N_TEST, N_VALIDATION = 10_000, 2_500, 1_000
WIDTH = 32
ITERATIONS = 60
# With batches of 64 as many steps as the field's 300 epochs take in batches of 256.
BATCH_SIZE = 64
EPOCHS = {1: 300, 10: 150, 50: 75}
RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
BUILT_IN = "digits"


@dataclass(frozen=True)
class StudyCase:
    """One pipeline.

    Attributes:
        dataset: one of DATASETS.
        images_per_class: of the distilled and of the random set.
        seed: of the pipeline.
    """

    dataset: str
    images_per_class: int
    seed: int

    @property
    def name(self) -> str:
        """The case in one word, the stem of its file."""
        return f"{self.dataset}-{self.images_per_class}-{self.seed}"


def all_cases() -> list[StudyCase]:
    """Give every case, most needed first: a run cut short is a smaller study that is whole.

    Three data sets seed by seed, then the fourth.
    """
    return [
        StudyCase(dataset, images_per_class, seed)
        for datasets in (DATASETS[:3], DATASETS[3:])
        for seed in SEEDS
        for images_per_class in IMAGES_PER_CLASS
        for dataset in datasets
    ]


def case_of(name: str) -> StudyCase:
    """Read a case's name.

    Raises:
        ValueError: it is no case's name.
    """
    found = [case for case in all_cases() if case.name == name]
    if not found:
        raise ValueError(f"wanted a case such as fashion_mnist-10-0, got {name!r}")
    return found[0]


def dataset_name(dataset: str) -> str:
    """Give the name that the service knows a data set by."""
    return dataset if dataset == BUILT_IN else f"study-{dataset}"


def patch_size(dataset: str) -> int:
    """Give the side of the study's patches: an image has 4 x 4 (digits), 7 x 7 or 8 x 8."""
    return 2 if dataset == BUILT_IN else 4


def pipeline_of(case: StudyCase) -> dict[str, Any]:
    """Give the submission that stands for a case."""
    network = {"width": WIDTH, "depth": 2 if case.dataset == BUILT_IN else 3}
    return {
        "kind": "pipeline",
        "params": {
            "dataset": dataset_name(case.dataset),
            "seed": case.seed,
            "n_validation": 400 if case.dataset == BUILT_IN else N_VALIDATION,
            "distill": {
                "method": "dm",
                "images_per_class": case.images_per_class,
                "iterations": ITERATIONS,
                "batch_real": 32,
                # Nothing but the images that the last iteration leaves.
                "selection": {"n_evaluations": 0},
                "measure_factor": False,
                **network,
            },
            "train": {
                **network,
                "n_seeds": 1,
                "epochs": EPOCHS[case.images_per_class],
                "batch_size": BATCH_SIZE,
            },
            "baselines": [{"source": "random"}],
            "calibrate": [{"method": "none"}],
            "evaluate": {
                "mts_ratios": list(RATIOS),
                "mts_masks": [
                    {"unit": "pixel"},
                    {"unit": "patch", "patch_size": patch_size(case.dataset)},
                ],
            },
        },
    }
