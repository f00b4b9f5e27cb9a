"""Which classes a job takes, and how many training images of each: subset, cut, long tail."""

import math
from collections.abc import Sequence

from ddcal_core.data.dataset_facts import validation_counts
from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.facts import DatasetFacts


def class_index(facts: DatasetFacts, choice: int | str) -> int | None:
    """Which class is meant by a name, or by an index from 0; None where there is no such class."""
    if isinstance(choice, str):
        return facts.class_names.index(choice) if choice in facts.class_names else None
    return choice if 0 <= choice < facts.n_classes else None


def class_indices(
    facts: DatasetFacts, choices: Sequence[int | str] | None
) -> tuple[int, ...] | None:
    """Which classes are meant, in the order of the choices; see `class_index`.

    Returns:
        Indices, or None for all classes in their own order, which None stands for as well.

    Raises:
        InvalidDataError: fewer than two, one that there is not, or one twice.
    """
    if choices is None:
        return None
    found: list[int] = []
    for choice in choices:
        index = class_index(facts, choice)
        if index is None or index in found:
            raise InvalidDataError(
                f"classes: wanted each once, by name or by index 0 to {facts.n_classes - 1}; "
                f"got {choice!r}"
            )
        found.append(index)
    if len(found) < 2:
        raise InvalidDataError(f"classes: wanted at least 2, got {len(found)}")
    return None if found == list(range(facts.n_classes)) else tuple(found)


def facts_of_classes(facts: DatasetFacts, classes: Sequence[int]) -> DatasetFacts:
    """What is known of some classes: names and counts are theirs, mean and std the whole set's.

    Args:
        facts: of all classes.
        classes: indices into them; label k of the result is the k-th.
    """
    by_class = ["class_names", "train_class_counts", "test_class_counts"]
    if facts.validation_class_counts is not None:
        by_class.append("validation_class_counts")
    return facts.model_copy(
        update={name: tuple(getattr(facts, name)[k] for k in classes) for name in by_class}
    )


def long_tailed_counts(counts: Sequence[int], factor: float) -> tuple[int, ...]:
    """How many images of each class a long tail keeps.

    Class k of K keeps floor(n_max factor^(k / (K - 1))), n_max the largest count; never more than
    it has, never none of some.

    Args:
        counts: images of each of K >= 2 classes.
        factor: in (0, 1]; with 1 all classes are alike, as far as they have as many.

    Source:
        Cui et al., CVPR 2019 (their code takes N / K for n_max, on balanced classes the same).
    """
    n_max, n_classes = max(counts), len(counts)
    wanted = (
        # 100 * 0.29 is a hair below 29.
        max(1, math.floor(n_max * factor ** (k / (n_classes - 1)) + 1e-9))
        for k in range(n_classes)
    )
    return tuple(min(have, want) for have, want in zip(counts, wanted, strict=True))


def n_validation_images(facts: DatasetFacts, n_validation: int | None) -> int:
    """How many validation images there are: those of a split of its own, or those that are cut.

    Args:
        facts: of the classes taken.
        n_validation: as `validation_counts` takes it.
    """
    if facts.n_own_validation is not None:
        return facts.n_own_validation
    return sum(validation_counts(facts.train_class_counts, n_validation))


def training_counts(
    facts: DatasetFacts, n_validation: int | None, imbalance: float | None
) -> tuple[int, ...]:
    """How many images each class has for training: after the validation cut and the long tail.

    Args:
        facts: of the classes taken.
        n_validation: as `validation_counts` takes it; not looked at where validation is a split of
            its own, which takes nothing away.
        imbalance: the factor of `long_tailed_counts`; None leaves all that the cut leaves.
    """
    left = facts.train_class_counts
    if facts.n_own_validation is None:
        cut = validation_counts(left, n_validation)
        left = tuple(n - c for n, c in zip(left, cut, strict=True))
    return left if imbalance is None else long_tailed_counts(left, imbalance)
