"""How fast a temperature is fitted and an ECE measured, against floors and scikit-learn.

    python -m benchmarks.calibration [--size small|full] [--repeats 5]

One thread, float32 logits, processor seconds, the best of some repeats taken in turns, so that all
share whatever else the machine does. The floor of a fit is one shifted copy and six passes, each
an exponential and three sums, as plain torch (`floor_of_fit`); done in chunks that stay in cache it
is two to four times faster, and that is the one to be measured by. The floor of an ECE is a softmax
and one pass over what it gives. Memory is the most a fresh process grew by during one call.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from sklearn.calibration import _TemperatureScaling
from torch import Tensor

from ddcal_core.calibration.masked import fit_temperature
from ddcal_core.metrics import bin_sums_of_logits, expected_calibration_error
from ddcal_core.seeding import seeded_generator

SIZES = {
    "full": [(100_000, 10), (100_000, 100), (1_000_000, 10)],
    "small": [(20_000, 10), (20_000, 100)],
}
N_PASSES = 6
NUMBERS_IN_CACHE = 2**17
KIBIBYTE = 1024


def some_logits(n: int, n_classes: int) -> tuple[Tensor, Tensor]:
    """Over-confident float32 logits and labels that follow them in 70 %: T is about 5."""
    generator = seeded_generator(0, "benchmark", n, n_classes)
    logits = torch.empty((n, n_classes)).normal_(generator=generator).mul_(8)
    labels = torch.randint(n_classes, (n,), generator=generator)
    follows = torch.rand(n, generator=generator) < 0.7
    return logits, torch.where(follows, logits.argmax(1), labels)


def one_pass(columns: Tensor, b: float) -> Tensor:
    """The sum over rows of the mean and the mean square under softmax(b z), float64."""
    weighted = torch.exp(columns * b)
    total = weighted.sum(0)
    mean = (weighted * columns).sum(0) / total
    square = (weighted * columns * columns).sum(0) / total
    return torch.stack([mean.double().sum(), square.double().sum()])


def floor_of_fit(logits: Tensor) -> Tensor:
    """One shifted class-major copy and six passes over it, float32."""
    columns = (logits - logits.amax(1, keepdim=True)).t().contiguous()
    return torch.stack([one_pass(columns, 0.1 + k / 10) for k in range(N_PASSES)])


def floor_of_fit_in_chunks(logits: Tensor) -> Tensor:
    """The same, a chunk that stays in cache at a time."""
    columns = (logits - logits.amax(1, keepdim=True)).t().contiguous()
    chunks = columns.split(max(1, NUMBERS_IN_CACHE // len(columns)), dim=1)
    return torch.stack(
        [torch.stack([one_pass(c, 0.1 + k / 10) for c in chunks]).sum(0) for k in range(N_PASSES)]
    )


def floor_of_ece(logits: Tensor) -> Tensor:
    """A softmax and one pass over it, without any binning."""
    return torch.softmax(logits, 1).amax(1)


def best_seconds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least processor seconds of each call; the calls take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return best


def print_ratios(n: int, n_classes: int, repeats: int) -> None:
    """Print the times of one size and what they are of their floors."""
    logits, labels = some_logits(n, n_classes)
    scores, classes = logits.numpy(), labels.numpy()
    fits = best_seconds(
        {
            "fit_temperature": lambda: fit_temperature(logits, labels),
            "floor, whole arrays": lambda: floor_of_fit(logits),
            "floor, in chunks": lambda: floor_of_fit_in_chunks(logits),
        },
        repeats,
    )
    peer = _TemperatureScaling()
    fits |= best_seconds({"scikit-learn": lambda: peer.fit(scores, classes)}, min(2, repeats))
    eces = best_seconds(
        {
            "bin_sums_of_logits": lambda: bin_sums_of_logits(logits, labels),
            "softmax, then ECE": lambda: expected_calibration_error(logits.softmax(1), labels),
            "softmax + one pass": lambda: floor_of_ece(logits),
        },
        repeats,
    )
    fit = fit_temperature(logits, labels)
    print(f"\n{n:,} x {n_classes} float32")
    for name, seconds in (fits | eces).items():
        print(f"  {name:<22}{seconds * 1e3:10.1f} ms")
    ours = fits["fit_temperature"]
    ratios = [
        ("fit / floor in chunks", ours / fits["floor, in chunks"], "at most 1.5"),
        ("fit / floor of whole arrays", ours / fits["floor, whole arrays"], "at most 1.5"),
        ("scikit-learn / fit", fits["scikit-learn"] / ours, "at least 6"),
        ("ECE / its floor", eces["bin_sums_of_logits"] / eces["softmax + one pass"], "at most 1.2"),
        ("memory of fit, copies", copies("fit", n, n_classes), "at most 2"),
        ("memory of ECE, copies", copies("ece", n, n_classes), "at most 2"),
    ]
    for name, ratio, target in ratios:
        print(f"  {name:<30}{ratio:6.2f}   ({target})")
    print(f"  T: ours {fit.temperature}, scikit-learn {1 / peer.beta_}; {fit.iterations} points")


def copies(call: str, n: int, n_classes: int) -> float:
    """How far a fresh process grows during a call, in copies of the logits."""
    command = [sys.executable, "-m", "benchmarks.calibration", "--grow", call, str(n)]
    done = subprocess.run([*command, str(n_classes)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def print_growth(call: str, n: int, n_classes: int) -> None:
    """Print how far this process's peak grows during a call, in copies of the logits (Linux)."""
    functions = {"fit": fit_temperature, "ece": bin_sums_of_logits}
    functions[call](*some_logits(1000, n_classes))
    logits, labels = some_logits(n, n_classes)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident_bytes("VmRSS")
    functions[call](logits, labels)
    grown = resident_bytes("VmHWM") - before
    print(grown / (logits.numel() * logits.element_size()))


def resident_bytes(field: str) -> int:
    """This process's resident memory: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIBIBYTE for line in lines if line.startswith(field))


def main() -> None:
    """Print ratios of every size, or the growth that a child was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--grow", nargs=3, metavar=("CALL", "N", "K"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.grow:
        call, n, n_classes = arguments.grow
        print_growth(call, int(n), int(n_classes))
        return
    print(f"torch {torch.__version__}, one thread, best of {arguments.repeats}")
    for n, n_classes in SIZES[arguments.size]:
        print_ratios(n, n_classes, arguments.repeats)


if __name__ == "__main__":
    main()
