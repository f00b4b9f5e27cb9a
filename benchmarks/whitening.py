"""What ZCA costs at each size: fitting, entering the space, the way back, bytes.

python -m benchmarks.whitening [SHAPE ...]        shapes as 3x32x32

Seconds of one core (`time.process_time`, one thread), so that a busy machine does not matter much;
images are random, which no step's cost depends on. `zca_per_image` takes the same steps.
"""

import argparse
import time
from itertools import pairwise

import torch

from ddcal_core.data.input_space import enter, fit_space
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.spaces import ZcaSpace

N_FITTED, N_ENTERED = 48_000, 10_000
SHAPES = ("1x28x28", "3x32x32", "1x64x64")


def seconds_of(shape: tuple[int, int, int]) -> list[float]:
    """Seconds to fit on 48,000 images, to enter with 10,000, and to come back with 100."""
    facts = DatasetFacts(
        image_shape=shape,
        class_names=("a", "b"),
        train_class_counts=(N_FITTED // 2,) * 2,
        test_class_counts=(N_ENTERED // 2,) * 2,
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (N_FITTED, *shape), generator=generator, dtype=torch.uint8)
    marks = [time.process_time()]
    space = fit_space(ZcaSpace(name="zca"), images, facts)
    marks.append(time.process_time())
    entered = enter(space, images[:N_ENTERED])
    marks.append(time.process_time())
    space.back(entered[:100])
    marks.append(time.process_time())
    return [end - start for start, end in pairwise(marks)]


def main() -> None:
    """Print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", default=SHAPES, help="C x H x W, as 3x32x32")
    torch.set_num_threads(1)
    print(f"seconds of one core; fit on {N_FITTED:,}, enter with {N_ENTERED:,}, back with 100\n")
    print(f"{'image':9s} {'fit':>7s} {'enter':>7s} {'back':>7s} {'matrix':>9s}")
    for name in parser.parse_args().shapes:
        n_channels, height, width = map(int, name.split("x"))
        fit, entering, back = seconds_of((n_channels, height, width))
        size = f"{4 * (n_channels * height * width) ** 2 / 1e6:.1f} MB"
        print(f"{name:9s} {fit:7.1f} {entering:7.1f} {back:7.1f} {size:>9s}")


if __name__ == "__main__":
    main()
