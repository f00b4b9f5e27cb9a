"""Prints what other libraries say of the samples of test_metric_conventions, beside our values.

    python -m benchmarks.peer_metrics

Wants torchmetrics 1.9.0, netcal 1.4.0, relplot 1.0.3 and uncertainty-calibration 0.1.4 (which is
verified_calibration); those that are not installed are left out. They are no dependencies: netcal
alone brings a probabilistic language and a plotting server along. No test runs this.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from torch import Tensor

from ddcal_core import metrics
from tests.core.metrics.test_metric_conventions import hits, ordinary, saturated, tied

SAMPLES = {"ordinary": ordinary, "tied": tied, "saturated": saturated}
OURS = {
    "ece": metrics.expected_calibration_error,
    "rmsce": metrics.root_mean_square_calibration_error,
    "mce": lambda *samples: metrics.maximum_calibration_error(*samples).value,
    "adaptive": metrics.adaptive_calibration_error,
    "debiased": metrics.debiased_calibration_error,
    "smooth": metrics.smooth_calibration_error,
}


def torchmetrics(probabilities: Tensor, labels: Tensor) -> Iterator[tuple[str, float]]:
    """Its three norms, 15 bins."""
    peer = importlib.import_module("torchmetrics.functional.classification")
    for name, norm in (("ece", "l1"), ("rmsce", "l2"), ("mce", "max")):
        n_classes = probabilities.shape[1]
        value = peer.multiclass_calibration_error(probabilities, labels, n_classes, 15, norm)
        yield name, float(value)


def netcal(probabilities: Tensor, labels: Tensor) -> Iterator[tuple[str, float]]:
    """Its ECE and MCE, 15 bins; two columns would be two binary problems to it."""
    peer = importlib.import_module("netcal.metrics")
    arrays = probabilities.double().numpy(), labels.numpy()
    for name, metric in (("ece", peer.ECE), ("mce", peer.MCE)):
        yield name, float(metric(15).measure(*arrays))


def verified_calibration(probabilities: Tensor, labels: Tensor) -> Iterator[tuple[str, float]]:
    """Equal-width and equal-mass l1, debiased l2."""
    peer = importlib.import_module("calibration")
    arrays = probabilities.double().numpy(), labels.numpy()
    yield "ece", peer.get_ece(*arrays, num_bins=15)
    for name, p, debias in (("adaptive", 1, False), ("debiased", 2, True)):
        value = peer.lower_bound_scaling_ce(*arrays, p=p, debias=debias, mode="top-label")
        yield name, float(value)


def relplot(probabilities: Tensor, labels: Tensor) -> Iterator[tuple[str, float]]:
    """Its smooth ECE, reflected kernel."""
    peer = importlib.import_module("relplot")
    yield "smooth", float(peer.smECE(*hits(probabilities, labels)))


PEERS: tuple[Callable, ...] = (torchmetrics, netcal, verified_calibration, relplot)


def main() -> None:
    """Print a line a sample, metric and peer."""
    warnings.simplefilter("ignore")
    for sample, make in SAMPLES.items():
        for peer in PEERS:
            try:
                for name, value in peer(*make()):
                    ours = OURS[name](*make())
                    print(f"{sample:10} {name:9} {peer.__name__:21} {value:.10f}  ours {ours:.10f}")
            except ImportError as error:
                print(f"{sample:10} {'–':9} {peer.__name__:21} not installed ({error})")
            except (ValueError, RuntimeError, IndexError, np.exceptions.AxisError) as error:
                print(f"{sample:10} {'–':9} {peer.__name__:21} {type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
