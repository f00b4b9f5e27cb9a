"""What ZCA costs at each size: fitting, entering the space, the way back, bytes.

python -m benchmarks.whitening

Seconds of one core (`time.process_time`, one thread), so that a busy machine does not matter much;
images are random, which no step's cost depends on.
"""

import resource
import time
from itertools import pairwise

import torch

from ddcal_core.input_space import enter, fit_space
from ddcal_core.specs import DatasetFacts, InputSpaceSpec, PerImageZcaSpace, ZcaSpace

N_FITTED, N_ENTERED = 48_000, 10_000
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 64, 64))
SPACES: tuple[InputSpaceSpec, ...] = (
    ZcaSpace(name="zca"),
    PerImageZcaSpace(name="zca_per_image"),
)


def seconds_of(spec: InputSpaceSpec, shape: tuple[int, int, int]) -> list[float]:
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
    space = fit_space(spec, images, facts)
    marks.append(time.process_time())
    entered = enter(space, images[:N_ENTERED])
    marks.append(time.process_time())
    space.back(entered[:100])
    marks.append(time.process_time())
    return [end - start for start, end in pairwise(marks)]


def main() -> None:
    """Print a line a space and size."""
    torch.set_num_threads(1)
    print(f"seconds of one core; fit on {N_FITTED:,}, enter with {N_ENTERED:,}, back with 100\n")
    print(f"{'image':12s} {'space':14s} {'fit':>7s} {'enter':>7s} {'back':>7s} {'matrix':>9s}")
    for shape in SHAPES:
        n_features = torch.Size(shape).numel()
        for spec in SPACES:
            fit, entering, back = seconds_of(spec, shape)
            size = f"{4 * n_features**2 / 1e6:.1f} MB"
            name = " x ".join(map(str, shape))
            print(f"{name:12s} {spec.name:14s} {fit:7.1f} {entering:7.1f} {back:7.1f} {size:>9s}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\npeak memory of the process: {peak:.1f} GB")


if __name__ == "__main__":
    main()
