"""The reverse sweep of MTT and RTP beside full unrolling: seconds a step, and memory by steps.

    python -m benchmarks.trajectory_matching
    python -m benchmarks.trajectory_matching --width 128 --images 10 --side 32 --channels 3

Plain unrolling is written here as the published loop has it: stock layers, a graph kept through all
steps, one backward pass at the end. "Unrolled, our layers" is the same on the service's ConvNet.
The gradients of all are compared before they are timed. Timed in turns, in the same process, one
thread; the median of the turns. Memory is the peak of a process of its own (ru_maxrss) less what it
had before the first step.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ddcal_core.distillation.unrolled_training import (
    FlatNetwork,
    InnerTraining,
    flat_parameters,
    roll_out,
    sweep_back,
)
from ddcal_core.networks import ConvNet, initialise
from ddcal_core.seeding import seeded_generator

LR, N_CLASSES = 0.01, 10
MEMORY_STEPS = (10, 50, 200)


def stock_convnet(n_channels: int, side: int, width: int, depth: int = 3) -> nn.Module:
    """The field's ConvNet of PyTorch's own layers, parameters named and ordered as ours."""
    padding = 3 if (n_channels, side) == (1, 28) else 1
    side += 2 * (padding - 1)
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for block in range(depth):
        blocks[f"conv{block}"] = nn.Conv2d(n_channels, width, 3, padding=padding)
        blocks[f"norm{block}"] = nn.GroupNorm(width, width)
        blocks[f"relu{block}"] = nn.ReLU()
        blocks[f"pool{block}"] = nn.AvgPool2d(2)
        n_channels, padding, side = width, 1, side // 2
    network = nn.Sequential(
        OrderedDict(
            features=nn.Sequential(blocks),
            flat=nn.Flatten(),
            classifier=nn.Linear(width * side * side, N_CLASSES),
        )
    )
    return network.requires_grad_(False)


def unrolled(
    module: nn.Module, images: Tensor, labels: Tensor, start: Tensor, n_steps: int
) -> Tensor:
    """Gradient of ||theta_N||^2 by the images, a graph kept through all steps."""
    names, shapes = zip(*((k, p.shape) for k, p in module.named_parameters()), strict=True)
    sizes = [shape.numel() for shape in shapes]
    images = images.clone().requires_grad_()
    theta = start.clone().requires_grad_()
    for _ in range(n_steps):
        pieces = zip(names, theta.split(sizes), shapes, strict=True)
        parameters = {name: piece.view(shape) for name, piece, shape in pieces}
        loss = nn.functional.cross_entropy(functional_call(module, parameters, (images,)), labels)
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - LR * gradient
    return torch.autograd.grad(theta.square().sum(), images)[0]


def swept(
    module: nn.Module, width: int, images: Tensor, labels: Tensor, start: Tensor, n_steps: int
) -> Tensor:
    """The same gradient by the sweep."""
    training = InnerTraining(
        FlatNetwork(module), lambda s, _: (s["images"], labels), n_steps, width
    )
    learned, lr = {"images": images}, torch.tensor(LR)
    rolled = roll_out(training, learned, start, lr)
    return sweep_back(training, learned, rolled, lr, 2 * rolled.path[-1]).learned["images"]


def ways(options: argparse.Namespace) -> dict[str, Callable[[int], Tensor]]:
    """Each way to the gradient, as a function of the number of steps."""
    side, width = options.side, options.width
    own = ConvNet(options.channels, N_CLASSES, (side, side), width, 3)
    initialise(own, seeded_generator(0, "network"))
    own.requires_grad_(False)
    stock = stock_convnet(options.channels, side, width)
    generator = seeded_generator(0, "images")
    shape = (options.images, options.channels, side, side)
    images = torch.randn(shape, generator=generator)
    labels = torch.arange(options.images) % N_CLASSES
    start = flat_parameters(own)
    return {
        "plain": lambda n: unrolled(stock, images, labels, start, n),
        "ours": lambda n: unrolled(own, images, labels, start, n),
        "sweep": lambda n: swept(own, width, images, labels, start, n),
    }


def measure_time(options: argparse.Namespace) -> None:
    """Print milliseconds a step of each way and the ratios, one line."""
    of_way = ways(options)
    reference = of_way["plain"](options.steps)
    errors = {
        name: float((way(options.steps) - reference).norm() / reference.norm())
        for name, way in of_way.items()
    }
    # Among millions of activations some are within rounding of 0, where ReLU takes either side.
    assert max(errors.values()) < 1e-2, errors
    seconds: dict[str, list[float]] = {name: [] for name in of_way}
    for _ in range(options.turns):
        for name, way in of_way.items():
            started = time.process_time() if options.cpu_time else time.perf_counter()
            way(options.steps)
            ended = time.process_time() if options.cpu_time else time.perf_counter()
            seconds[name].append((ended - started) / options.steps)
    typical = {name: statistics.median(own) for name, own in seconds.items()}
    milliseconds = " | ".join(f"{1000 * typical[name]:.1f}" for name in typical)
    size = f"{options.channels} x {options.side} x {options.side}"
    print(
        f"| {options.width} | {options.images} of {size} | {milliseconds} "
        f"| {typical['sweep'] / typical['plain']:.2f} "
        f"| {typical['sweep'] / typical['ours']:.2f} | {errors['sweep']:.0e} |",
        flush=True,
    )


def measure_peak(options: argparse.Namespace) -> None:
    """Print the peak memory of one way and number of steps in MB, above that before it."""
    way = ways(options)[options.way]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    way(options.steps)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000)


def measure_memory(options: argparse.Namespace) -> None:
    """Print the peak of each way by the number of steps, each in a process of its own."""
    for name in ("plain", "sweep"):
        peaks = []
        for steps in MEMORY_STEPS:
            given = [
                f"--{key}={getattr(options, key)}"
                for key in ("width", "images", "side", "channels")
            ]
            command = [sys.executable, "-m", "benchmarks.trajectory_matching", *given]
            command += [f"--way={name}", f"--steps={steps}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks.append(f"{float(done.stdout):.0f} MB")
        print(f"| {name} | {' | '.join(peaks)} |", flush=True)


def main() -> None:
    """Measure time of the sizes asked for, then memory of the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="of the process, not the clock's")
    parser.add_argument("--way", choices=("plain", "sweep"), help="peak memory of one alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.way:
        measure_peak(options)
        return
    print("| width | images | plain, ms a step | ours | sweep | sweep / plain | / ours | error |")
    if options.width:
        measure_time(options)
        return
    for width, images, side, channels in (
        (32, 10, 32, 3),
        (32, 100, 32, 3),
        (32, 100, 28, 1),
        (128, 10, 32, 3),
        (128, 100, 32, 3),
    ):
        size = {"width": width, "images": images, "side": side, "channels": channels}
        measure_time(argparse.Namespace(**vars(options) | size))
    print(f"| peak, width 32, 10 images | {' | '.join(f'{n} steps' for n in MEMORY_STEPS)} |")
    measure_memory(argparse.Namespace(**vars(options) | {"width": 32}))


if __name__ == "__main__":
    main()
