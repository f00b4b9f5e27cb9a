"""What keeping real images as pixels costs in time, beside whole sets of floats.

    python -m benchmarks.network_images [--widths 32 128] [--repeats 20]

On random images of CIFAR-10's size. A step of DM is on 256 real images of each of two classes, a
matching of DC likewise; an epoch trains on 1,024 images in batches of 256, as does asking for their
logits. One thread, processor seconds, medians of some repeats taken in turns, the ratio that of
each turn's two: so that whatever else the machine does disturbs little. The last rows are
what making a batch of 256 takes by itself, for the standard space and for ZCA, whose images are
therefore computed once and kept, beside a pass of the network and one with its gradient.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.data.input_space import Standard, Zca, enter
from ddcal_core.data.network_images import NetworkImages, network_images
from ddcal_core.distillation.dc import GradientMatching
from ddcal_core.distillation.dm import DistributionMatching
from ddcal_core.distillation.images import chunks
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.methods.dc import DcSpec
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.spaces import ZcaSpace
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network

N_IMAGES, N_CLASSES, BATCH = 1_024, 2, 256
CPU = torch.device("cpu")


def taken_in_turns(
    works: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Processor milliseconds of each, turn by turn, after one to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        # Every other turn backwards, so that no form always comes after the same one.
        for name, work in list(works.items())[:: 1 if repeat % 2 else -1]:
            started = time.process_time()
            work()
            if repeat:
                taken[name].append(1000 * (time.process_time() - started))
    return taken


def works_of(images: NetworkImages, width: int) -> dict[str, Callable[[], object]]:
    """What is done with real images."""
    facts = NAMED_DATASETS["cifar10"].model_copy(
        update={"class_names": ("a", "b"), "train_class_counts": (N_IMAGES // 2,) * 2}
    )
    labels = torch.arange(N_IMAGES) % N_CLASSES
    options = {"images_per_class": 10, "width": width, "depth": 3, "batch_real": BATCH}
    dm = DistributionMatching(images, labels, DmSpec(method="dm", **options), facts, seed=0)
    dc = GradientMatching(
        images, labels, DcSpec(method="dc", **options, outer_loops=1), facts, seed=0
    )
    training = TrainSpec(width=width, depth=3, epochs=1, batch_size=BATCH)
    network = build_network(training, facts, seeded_generator(0))

    def epoch() -> None:
        train_network(network, images, labels, training, generator=seeded_generator(0))

    return {
        "DM step": lambda: dm.step(dm.initial_state(), 0, lr_scale=1),
        "DC matching": lambda: dc.step(dc.initial_state(), 0, lr_scale=1),
        "epoch": epoch,
        "logits": lambda: predict_logits(network, images),
    }


def print_batches(pixels: torch.Tensor, widths: list[int], repeats: int) -> None:
    """Milliseconds that making a batch takes, and what networks take for it."""
    facts = NAMED_DATASETS["cifar10"]
    n_features = pixels[0].numel()
    zca = Zca(facts, ZcaSpace(name="zca"), torch.zeros(n_features), torch.eye(n_features))
    batch, standard = pixels[:BATCH], Standard(facts)
    entered = enter(standard, batch)
    works: dict[str, Callable[[], object]] = {
        "batch, standard space": lambda: enter(standard, batch),
        "batch, ZCA": lambda: enter(zca, batch),
    }
    for width in widths:
        spec = TrainSpec(width=width, depth=3)
        network = build_network(spec, facts, seeded_generator(0))

        def forward(network: torch.nn.Module = network, width: int = width) -> None:
            with torch.no_grad():
                for part in chunks(entered, width):
                    network(part)

        def gradient(network: torch.nn.Module = network, width: int = width) -> None:
            for part in chunks(entered, width):
                torch.autograd.backward(network(part).sum())

        works |= {f"a pass, width {width}": forward, f"with gradient, width {width}": gradient}
    for name, taken in taken_in_turns(works, repeats).items():
        print(f"{name:28} {median(taken):9.2f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pixels = torch.randint(0, 256, (N_IMAGES, 3, 32, 32), dtype=torch.uint8)
    space = Standard(NAMED_DATASETS["cifar10"])
    forms: dict[str, NetworkImages] = {
        "floats": enter(space, pixels),
        "pixels": network_images(pixels, torch.arange(N_IMAGES), space, CPU),
    }
    print("width  what             floats       pixels   ratio")
    for width in options.widths:
        by_form = {form: works_of(images, width) for form, images in forms.items()}
        for name in by_form["floats"]:
            works = {form: works[name] for form, works in by_form.items()}
            floats, kept = taken_in_turns(works, options.repeats).values()
            ratio = median([one / other for one, other in zip(kept, floats, strict=True)])
            print(
                f"{width:5}  {name:12} {median(floats):7.1f} ms   {median(kept):7.1f} ms   "
                f"{ratio:.3f}",
                flush=True,
            )
    print_batches(pixels, options.widths, options.repeats)


if __name__ == "__main__":
    main()
