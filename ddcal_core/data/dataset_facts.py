"""Data sets known by name, and what can be worked out of a data set without opening it."""

import math
from typing import Literal

from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.fields import MAX_VALIDATION_BY_DEFAULT

Split = Literal["train", "test"]

DIGITS = tuple("0123456789")
# The fine labels, in the order of the set's own meta file.
CIFAR100_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach "
    "couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster "
    "house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree "
    "motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
    "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road "
    "rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
    "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip "
    "turtle wardrobe whale willow_tree wolf woman worm"
)
# mean and std: DC's published constants for all but digits; those of digits are checked against
# scikit-learn's copy by a test.
NAMED_DATASETS: dict[str, DatasetFacts] = {
    "digits": DatasetFacts(
        image_shape=(1, 8, 8),
        class_names=DIGITS,
        train_class_counts=(128, 131, 128, 132, 131, 131, 131, 129, 126, 130),
        test_class_counts=(50, 51, 49, 51, 50, 51, 50, 50, 48, 50),
        mean=(0.3053,),
        std=(0.3758,),
    ),
    "mnist": DatasetFacts(
        image_shape=(1, 28, 28),
        class_names=DIGITS,
        train_class_counts=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        test_class_counts=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        mean=(0.1307,),
        std=(0.3081,),
    ),
    "fashion_mnist": DatasetFacts(
        image_shape=(1, 28, 28),
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        train_class_counts=(6000,) * 10,
        test_class_counts=(1000,) * 10,
        mean=(0.2861,),
        std=(0.3530,),
    ),
    "cifar10": DatasetFacts(
        image_shape=(3, 32, 32),
        class_names=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        train_class_counts=(5000,) * 10,
        test_class_counts=(1000,) * 10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    ),
    "cifar100": DatasetFacts(
        image_shape=(3, 32, 32),
        class_names=tuple(CIFAR100_CLASSES.split()),
        train_class_counts=(500,) * 100,
        test_class_counts=(100,) * 100,
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    ),
    # Cropped digits, format 2, without the extra images; label 0 is the digit 0.
    "svhn": DatasetFacts(
        image_shape=(3, 32, 32),
        class_names=DIGITS,
        train_class_counts=(4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
        test_class_counts=(1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
    ),
}


def validation_counts(
    train_class_counts: tuple[int, ...], n_validation: int | None
) -> tuple[int, ...]:
    """How many images of each class the validation cut takes.

    Proportional to the class counts, by largest remainder (ties to the lower class), and never
    the last image of a class.

    Args:
        train_class_counts: training images of each class.
        n_validation: images to take; None for one fifth, at most 2,000.

    Returns:
        Counts that sum to `n_validation`, less where classes would run empty.
    """
    n_train = sum(train_class_counts)
    n_wanted = (
        min(n_train // 5, MAX_VALIDATION_BY_DEFAULT) if n_validation is None else n_validation
    )
    shares = [n_wanted * count / n_train for count in train_class_counts]
    counts = [math.floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda k: (counts[k] - shares[k], k))
    for k in by_remainder[: n_wanted - sum(counts)]:
        counts[k] += 1
    return tuple(
        min(count, max(available - 1, 0))
        for count, available in zip(counts, train_class_counts, strict=True)
    )


def max_convnet_depth(image_shape: tuple[int, int, int]) -> int:
    """How many times a ConvNet can halve the image; 28-pixel grey images are padded to 32."""
    return int(math.log2(min(_padded_sides(image_shape))))


def n_convnet_parameters(
    image_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int,
    depth: int,
    is_pooled: bool = True,
) -> int:
    """How many numbers a ConvNet learns: 3 x 3 convolutions with norms, and one linear layer."""
    n_halvings = depth if is_pooled else 0
    first = width * (9 * image_shape[0] + 3)
    others = (depth - 1) * width * (9 * width + 3)
    height, side = (length >> n_halvings for length in _padded_sides(image_shape))
    return first + others + n_classes * (width * height * side + 1)


def _padded_sides(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    n_channels, height, width = image_shape
    pad = 4 if n_channels == 1 and (height, width) == (28, 28) else 0  # first convolution pads by 3
    return height + pad, width + pad
