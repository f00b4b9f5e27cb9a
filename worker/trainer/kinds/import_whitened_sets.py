"""The check of uploaded sets that were whitened and come without their matrix: it is fitted here.

A trainer does it, as it takes torch and the images of a data set, whatever that is.
"""

from pathlib import Path

from ddcal_core.data.input_space import fit_space, space_tensors
from ddcal_core.intake.set_intake import take_in_sets
from ddcal_core.specs.spaces import ZcaSpace
from ddcal_core.specs.uploads import SetOptions
from worker.trainer.inputs import DatasetInput, Input, Task, parse_json
from worker.trainer.loading import load_train_images
from worker.trainer.outputs import Output


class WhitenedSetsInput(Input):
    """An upload of whitened sets, and the data set that they were made from.

    Attributes:
        upload_path: the file.
        max_decoded_bytes: largest total size after decoding.
        sha256: of the file.
        name: as the set is to be called; of several, each with its number.
        options: what the sender says of them, zca_eps too.
        dataset: whose training images the matrix is fitted on.
    """

    upload_path: Path
    max_decoded_bytes: int
    sha256: str
    name: str
    options: SetOptions
    dataset: DatasetInput


def run(task: Task) -> list[Output]:
    """Fit the matrix on all training images, and take the sets in.

    Raises:
        InvalidDataError: they cannot be used; says what was wanted and what was got.
    """
    inputs = parse_json(WhitenedSetsInput, task.inputs)
    facts, eps = inputs.dataset.facts, inputs.options.zca_eps
    if eps is None:
        raise ValueError("wanted whitened sets with zca_eps, got none")
    images = load_train_images(inputs.dataset).images
    space = fit_space(ZcaSpace(name="zca", eps=eps), images, facts, task.on_progress)
    task.on_note(
        "fitted_zca",
        f"the sets' ZCA matrix was fitted on the {len(images):,} training images of "
        f"{inputs.dataset.name}, with eps {eps:g}",
    )
    sets = take_in_sets(
        inputs.upload_path,
        task.folder,
        inputs.max_decoded_bytes,
        facts=facts,
        options=inputs.options,
        sha256=inputs.sha256,
        fitted={name: tensor.numpy() for name, tensor in space_tensors(space).items()},
    )
    return [
        Output(
            "distilled_set",
            one.key,
            one.manifest.as_json(),
            one.paths,
            name=one.named(inputs.name, len(sets)),
        )
        for one in sets
    ]
