"""A network made elsewhere, asked of a few real images before anybody relies on it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ddcal_core.data.input_space import Standard
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.foreign_networks import ForeignAnswers, ForeignModel, in_parts
from ddcal_core.formats.imported_networks import NetworkReading
from ddcal_core.formats.manifests import Split
from ddcal_core.intake.logits_notes import LabelTally, disagreement
from ddcal_core.metrics import accuracy
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.training.train import predict_logits
from worker.trainer.inputs import DatasetInput
from worker.trainer.loading import as_examples, cut, load_train_images

AnswerT = TypeVar("AnswerT")
MAX_TRIED, MAX_TRIED_LARGE = 256, 64
"""Images that it is tried on, and those where they are large to it."""
_LARGE = 3 * 128 * 128  # numbers of an image to a network that takes its time
_N_TOGETHER, _N_ALONE = 8, 3
_SAME = 1e-3  # of the largest number: what another order of sums may make of an answer
_SUM_TOLERANCE = 1e-2


class Trial(NamedTuple):
    """What a network has made of a few validation images.

    Attributes:
        n: images.
        accuracy: in [0, 1].
        notes: what is odd about its answers, a sentence each.
    """

    n: int
    accuracy: float
    notes: tuple[str, ...]


def try_network(
    model: ForeignModel, facts: DatasetFacts, split: Split, dataset: DatasetInput
) -> Trial:
    """Ask a network of a few validation images, together and alone.

    Raises:
        InvalidDataError: its answers are no logits of these classes, or depend on what it is asked
            beside them.
    """
    data = load_train_images(dataset)
    training, validation = cut(data, split, facts.n_classes)
    places = validation if len(validation) else training
    most = MAX_TRIED_LARGE if torch.Size(model.reading.input_shape).numel() >= _LARGE else MAX_TRIED
    drawn = torch.randperm(len(places), generator=seeded_generator(0, "try"))[:most]
    examples = as_examples(data, places[drawn], Standard(facts), torch.device("cpu"))
    answers, few = ForeignAnswers(model), examples.images[:_N_TOGETHER]
    with torch.no_grad():
        together = asked(partial(answers, few))
        _check_answers(together, model.reading, facts, len(few))
        for k in range(min(_N_ALONE, len(few))):
            one = slice(k, k + 1)
            _check_alone(asked(partial(answers, few[one])), together[one])
        logits = asked(partial(predict_logits, in_parts(model), examples.images))
        # Among all others, as it is asked from now on.
        _check_alone(model.answers(together), logits[: len(few)])
    if not bool(logits.isfinite().all()):
        raise InvalidDataError("wanted finite answers; got NaN or infinities for some images")
    right = accuracy(logits, examples.labels)
    return Trial(len(logits), right, _odd(logits, examples.labels, facts))


def _check_answers(
    answers: Tensor, reading: NetworkReading, facts: DatasetFacts, n_images: int
) -> None:
    wanted = (n_images, facts.n_classes)
    if answers.shape != wanted:
        raise InvalidDataError(
            f"wanted answers {wanted}, a number for each of the data set's classes; got "
            f"{tuple(answers.shape)}"
        )
    if not bool(answers.isfinite().all()):
        raise InvalidDataError("wanted finite answers; got NaN or infinities")
    sums = answers.sum(1)
    are_probabilities = bool((answers >= 0).all() and ((sums - 1).abs() < _SUM_TOLERANCE).all())
    if reading.outputs == "probabilities" and not are_probabilities:
        raise InvalidDataError(
            "wanted probabilities, none below 0 and each row adding up to 1; got numbers from "
            f"{float(answers.min()):.3g} to {float(answers.max()):.3g} and sums from "
            f"{float(sums.min()):.3g} to {float(sums.max()):.3g} (outputs=logits?)"
        )
    if reading.outputs == "logits" and are_probabilities:
        raise InvalidDataError(
            "wanted logits; the answers look like probabilities, each row adding up to 1 "
            "(outputs=probabilities)"
        )


def _check_alone(alone: Tensor, together: Tensor) -> None:
    far = float((alone - together).abs().max())
    if not far <= _SAME * max(1.0, float(together.abs().max())):
        raise InvalidDataError(
            "wanted the same answers for an image alone and among others; they differ by "
            f"{far:.3g}: export the network in evaluation mode (batch norm, dropout)"
        )


def _odd(logits: Tensor, labels: Tensor, facts: DatasetFacts) -> tuple[str, ...]:
    """What is odd about answers, in words that say what to do about it."""
    if bool((logits == logits[0]).all()):
        return ("It answers the same for every image: is what it reads declared as it is?",)
    tally = LabelTally(facts.n_classes)
    tally.add(logits.numpy(), labels.numpy())
    found = disagreement(tally)
    if found is None:
        return ()
    others = tally.predicted * (1 - np.eye(facts.n_classes, dtype=np.int64))
    label, column = divmod(int(others.argmax()), facts.n_classes)
    return (
        f"On {len(labels):,} validation images its largest answer is the label's in "
        f"{100 * found.accuracy:.1f} %, {'far below' if found.is_far_below else 'no better than'} "
        f"the {100 * found.guessing:.1f} % of guessing: its outputs are probably in another order "
        f"than the classes (class_order). Images of {facts.class_names[label]!r} get most of their "
        f"largest answers in the place of {facts.class_names[column]!r}.",
    )


def asked(ask: Callable[[], AnswerT]) -> AnswerT:
    """What ONNX Runtime gives.

    Raises:
        InvalidDataError: it gives nothing, and says why.
    """
    try:
        return ask()
    except MemoryError:
        raise
    except Exception as error:  # its errors have no other class in common
        words = " ".join(str(error).split())
        if "bad_alloc" in words or "Failed to allocate memory" in words:
            raise MemoryError(words) from error
        raise InvalidDataError(f"ONNX Runtime cannot run it: {words[:300]}") from error
