"""DC and DSA beside the published loop: time of a step, and what the machine could do at best.

    python -m benchmarks.distillation [--widths 32 128] [--classes 2] [--repeats 3]

On random images of CIFAR-10's size, 10 synthetic and 256 real images per class. A matching is one
gradient step on the images; an epoch is one of the network on the set. The published loop is
written here: stock layers, whole batches, gradients by all parameters. One thread, processor
seconds, the best of some repeats taken in turns, so that all share whatever else the machine does.

The floor is the arithmetic of the convolutions and the linear layer alone, at the rate of a large
matrix product measured in the same run. "Layers" is where a first-order pass spends its time.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.distillation.dc import GradientMatching
from ddcal_core.distillation.images import chunks
from ddcal_core.networks import ConvNet, initialise
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.augmentations import ALL_AUGMENTATIONS, AugmentationName
from ddcal_core.specs.methods.dc import DcSpec
from ddcal_core.specs.methods.dsa import DsaSpec
from ddcal_core.training.augmentation import augment, augment_each, draw_augmentation

SIDE, N_SYNTHETIC, N_REAL, N_BLOCKS, N_EPOCHS = 32, 10, 256, 3, 20
EPSILON, LR_IMAGES, LR_NETWORK = 1e-6, 0.1, 0.01


@dataclass(frozen=True)
class Work:
    """Multiplications with addition that an image takes: all layers, and all but the first.

    The first has no gradient by the real images, which saves it a third.
    """

    all_layers: float
    but_first: float

    @property
    def first_order(self) -> float:
        """Floating-point operations of a pass and the gradient by the weights."""
        return 2 * (2 * self.all_layers + self.but_first)

    @property
    def second_order(self) -> float:
        """The same, then the gradient by the image of a function of that gradient."""
        return 2 * (5 * self.all_layers + 2 * self.but_first)


def work_of(width: int) -> Work:
    """Work of a ConvNet of three blocks on three channels of 32 x 32, ten classes."""
    layers, n_inputs, n_pixels = [], 3, SIDE**2
    for _ in range(N_BLOCKS):
        layers.append(9 * n_inputs * width * n_pixels)
        n_inputs, n_pixels = width, n_pixels // 4
    total = sum(layers) + 10 * width * n_pixels
    return Work(total, total - layers[0])


def plain_convnet(width: int) -> nn.Module:
    """The field's ConvNet of PyTorch's own layers."""
    layers: list[nn.Module] = []
    n_inputs = 3
    for _ in range(N_BLOCKS):
        layers += [nn.Conv2d(n_inputs, width, 3, padding=1), nn.GroupNorm(width, width)]
        layers += [nn.ReLU(), nn.AvgPool2d(2)]
        n_inputs = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * (SIDE // 8) ** 2, 10))


def plain_matching(
    network: nn.Module,
    real: list[Tensor],
    synthetic: Tensor,
    names: tuple[AugmentationName, ...],
) -> Tensor:
    """The published step on the images: all classes' losses added up, one backward pass."""
    learned = synthetic.clone().requires_grad_()
    optimiser = torch.optim.SGD([learned], lr=LR_IMAGES, momentum=0.5)
    parameters = list(network.parameters())
    loss = torch.zeros(())
    for label, batch in enumerate(real):
        own = learned[label * N_SYNTHETIC : (label + 1) * N_SYNTHETIC]
        change = draw_augmentation(names, seeded_generator(0, "change", label))
        gradients = []
        for images, is_real in ((batch, True), (own, False)):
            labels = torch.full((len(images),), label)
            error = functional.cross_entropy(network(augment(images, change)), labels)
            gradients.append(torch.autograd.grad(error, parameters, create_graph=not is_real))
        for aim, got in zip(*gradients, strict=True):
            if aim.ndim > 1:
                rows, aims = got.flatten(1), aim.detach().flatten(1)
                cosine = (rows * aims).sum(1) / (rows.norm(dim=1) * aims.norm(dim=1) + EPSILON)
                loss = loss + (1 - cosine).sum()
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
    return learned.detach()


def plain_epoch(
    network: nn.Module, synthetic: Tensor, labels: Tensor, names: tuple[AugmentationName, ...]
) -> None:
    """The published epoch on the set, of one batch."""
    optimiser = torch.optim.SGD(network.parameters(), lr=LR_NETWORK)
    shown = augment_each(synthetic, names, seeded_generator(0, "epoch"))
    loss = functional.cross_entropy(network(shown), labels)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()


def best_seconds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least processor seconds of each call; the calls take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return best


def gemm_rate(width: int) -> float:
    """Floating-point operations a second of a product of the second block's shape, but larger."""
    left, right = torch.randn(4 * width, 9 * width), torch.randn(9 * width, 4096)
    best = best_seconds({"product": lambda: left @ right}, 10)["product"]
    return 2 * left.shape[0] * left.shape[1] * right.shape[1] / best


def our_calls(
    width: int, n_classes: int, names: tuple[AugmentationName, ...]
) -> tuple[Callable[[], float], Callable[[], float]]:
    """A matching alone, and one with epochs and another matching after it."""
    facts = NAMED_DATASETS["cifar10"]
    images = torch.randn((n_classes * N_REAL, 3, SIDE, SIDE), generator=seeded_generator(1))
    labels = torch.arange(n_classes).repeat_interleave(N_REAL)
    facts = facts.model_copy(update={"class_names": facts.class_names[:n_classes]})
    calls = []
    for loops in (1, 2):
        shape = {
            "width": width,
            "outer_loops": loops,
            "inner_epochs": N_EPOCHS,
            "batch_real": N_REAL,
        }
        spec: DcSpec | DsaSpec = DcSpec(method="dc", **shape)
        if names:
            spec = DsaSpec(method="dsa", augmentation=names, **shape)
        backbone = GradientMatching(images, labels, spec, facts, seed=0)
        state = backbone.initial_state()

        def call(backbone: GradientMatching = backbone, state: dict[str, Tensor] = state) -> float:
            return backbone.step(state, 0, lr_scale=1.0)

        calls.append(call)
    return calls[0], calls[1]


def print_steps(width: int, n_classes: int, repeats: int) -> None:
    """Print a matching and an epoch of both methods, ours and the published, and their floors."""
    rate, work = gemm_rate(width), work_of(width)
    print(f"\nwidth {width}, {n_classes} classes; matrix product {rate / 1e9:.0f} GFLOP/s")
    print(
        "                      published      ours    ratio   floor    share reached: theirs, ours"
    )
    network = plain_convnet(width)
    real = list(torch.randn(n_classes, N_REAL, 3, SIDE, SIDE))
    synthetic = torch.randn(n_classes * N_SYNTHETIC, 3, SIDE, SIDE)
    labels = torch.arange(n_classes).repeat_interleave(N_SYNTHETIC)
    for method, names in (("DC", ()), ("DSA", ALL_AUGMENTATIONS)):
        one, two = our_calls(width, n_classes, names)
        calls: dict[str, Callable[[], object]] = {
            "plain matching": lambda names=names: plain_matching(network, real, synthetic, names),
            "plain epoch": lambda names=names: plain_epoch(network, synthetic, labels, names),
            "one": one,
            "two": two,
        }
        seconds = best_seconds(calls, repeats + 1)
        images = n_classes * (N_REAL * work.first_order + N_SYNTHETIC * work.second_order)
        epoch = n_classes * N_SYNTHETIC * work.first_order
        ours_epoch = (seconds["two"] - 2 * seconds["one"]) / N_EPOCHS
        rows = [
            ("matching", seconds["plain matching"], seconds["one"], images / rate),
            ("epoch", seconds["plain epoch"], ours_epoch, epoch / rate),
        ]
        for what, plain, ours, floor in rows:
            if ours <= 0:
                continue  # a difference of two times, lost in their noise
            print(
                f"  {method:<4}{what:<14}{plain * 1e3:9.0f} ms{ours * 1e3:7.0f} ms"
                f"{plain / ours:8.2f}{floor * 1e3:8.0f} ms{floor / plain:12.0%}{floor / ours:8.0%}"
            )


def print_layers(width: int, repeats: int) -> None:
    """Print what each kind of layer takes of a first-order pass, in whole batches and in parts."""
    ours = ConvNet(3, 10, (SIDE, SIDE), width, N_BLOCKS)
    initialise(ours, seeded_generator(0))
    networks = {"stock, 256": list(plain_convnet(width))[: 4 * N_BLOCKS], "ours": [*ours.features]}
    print(f"  layers at width {width}, microseconds an image, forward and backward")
    for name, layers in networks.items():
        batch = torch.randn(N_REAL, 3, SIDE, SIDE)
        n_images = N_REAL if name.startswith("stock") else len(chunks(batch, width)[0])
        images = batch[:n_images]
        shares: dict[str, float] = {}
        for index, layer in enumerate(layers):
            inputs = images.clone().requires_grad_(index > 0)

            def both(layer: nn.Module = layer, inputs: Tensor = inputs) -> None:
                made = layer(inputs)
                wanted = [t for t in (inputs, *layer.parameters()) if t.requires_grad]
                torch.autograd.grad(made, wanted, torch.ones_like(made))

            seconds = best_seconds({"both": both}, repeats + 2)["both"]
            kind = ("convolution", "instance norm", "ReLU", "pooling")[index % 4]
            shares[kind] = shares.get(kind, 0.0) + seconds / n_images * 1e6
            images = layer(images).detach()
        label = name if name.startswith("stock") else f"ours, {n_images}"
        listed = ", ".join(f"{kind} {micro:.0f}" for kind, micro in shares.items())
        print(f"    batches of {label}: {listed}")


def main() -> None:
    """Print each width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--classes", type=int, default=2, help="matched one after another")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, best of {arguments.repeats + 1}")
    for width in arguments.widths:
        print_steps(width, arguments.classes, arguments.repeats)
        print_layers(width, arguments.repeats)


if __name__ == "__main__":
    main()
