"""`distill`: real training images -> a distilled set."""

import time

from ddcal_core.distillation.dm import distill_dm
from ddcal_core.export import write_distilled_set
from ddcal_core.specs import DistillParams, DmSpec
from worker.inputs import DatasetInput, Split, Task, as_examples, cut, load_train_images, parse_json
from worker.outputs import Output, versions

FILES = ("distilled_set.safetensors", "manifest.json", "distilled_set.npz", "preview.png")


def run(task: Task) -> list[Output]:
    """Distill the training images left by the validation cut; one distilled set comes out."""
    params = parse_json(DistillParams, task.params)
    dataset = parse_json(DatasetInput, task.inputs["dataset"])
    split = Split(dataset=dataset.name, seed=params.seed, n_validation=params.n_validation)
    data = load_train_images(dataset)
    train_index, _ = cut(data, split, dataset.facts.n_classes)
    real = as_examples(data, train_index, dataset.facts, task.device)
    if not isinstance(params.distill, DmSpec):
        raise ValueError(f"wanted method dm, got {params.distill.method}")
    started = time.monotonic()
    distilled = distill_dm(
        real.images,
        real.labels,
        params.distill,
        dataset.facts,
        seed=params.seed,
        on_progress=task.on_progress,
    )
    provenance = {
        "dataset": dataset.name,
        "method": params.distill.method,
        "images_per_class": params.distill.images_per_class,
        "mask_ratio": params.distill.mask.ratio,
        "seed": params.seed,
        "split": split.model_dump(),
        "n_real_images": len(train_index),
        "distill": params.distill.model_dump(mode="json"),
        "seconds": round(time.monotonic() - started, 3),
        "made_with": versions(task.device),
    }
    manifest = write_distilled_set(
        task.folder,
        distilled.images,
        distilled.labels,
        facts=dataset.facts,
        provenance=provenance,
    )
    files = tuple(task.folder / name for name in FILES)
    return [Output("distilled_set", "distilled_set", manifest, files)]
