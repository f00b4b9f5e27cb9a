"""What is known of a data set without opening it."""

from pydantic import Field

from ddcal_core.specs.fields import Spec


class DatasetFacts(Spec):
    """What is known of a data set without opening it.

    Attributes:
        image_shape: (C, H, W).
        class_names: one a class; label k is the k-th.
        train_class_counts: training images of each class, before the validation cut.
        test_class_counts: test images of each class.
        mean: of each channel over the training images, of pixels in [0, 1].
        std: likewise; never 0.
        n_test_in_train: test images that are also training images, to the last pixel.
        notes: what is odd about the data and what to do about it, a sentence or two each.
        validation_class_counts: validation images of each class, of a data set that has a
            validation split of its own; None of one from whose training images they are cut.
        recognised: how an upload was read: the layout found and what was assumed, a sentence each.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train_class_counts: tuple[int, ...]
    test_class_counts: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    n_test_in_train: int = 0
    notes: tuple[str, ...] = ()
    validation_class_counts: tuple[int, ...] | None = Field(None, exclude_if=lambda one: not one)
    recognised: tuple[str, ...] = Field((), exclude_if=lambda one: not one)

    @property
    def n_classes(self) -> int:
        """How many classes K there are."""
        return len(self.class_names)

    @property
    def n_own_validation(self) -> int | None:
        """How many images the data set's own validation split has; None where there is none."""
        counts = self.validation_class_counts
        return None if counts is None else sum(counts)
