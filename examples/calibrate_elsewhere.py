"""Calibrate a network made elsewhere from its logits: no image and no weight leaves its place.

python examples/calibrate_elsewhere.py

The network here is scikit-learn's, trained on sixty digits, and over-confident. A service has to
run: `ddcal serve`.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import ddcal
import ddcal.local


def logits_of(network: MLPClassifier, images: np.ndarray) -> np.ndarray:
    """Give what stands before the softmax, up to a constant a row."""
    return np.log(np.maximum(network.predict_proba(images), 1e-30))


def main() -> None:
    """Train, send the logits, and apply the temperature that comes back."""
    images, labels = load_digits(return_X_y=True)
    # The data set is ordered by who wrote the digits: rows to fit and test on are drawn.
    train, fit, test = np.split(np.random.default_rng(0).permutation(len(images)), [60, 660])
    network = MLPClassifier((64,), max_iter=400, random_state=0).fit(images[train], labels[train])
    logits = {
        "logits_fit": logits_of(network, images[fit]),
        "labels_fit": labels[fit],
        "logits_test": logits_of(network, images[test]),
        "labels_test": labels[test],
    }
    with ddcal.Client() as client:
        client.upload("digits-mlp", logits).wait()
        job = client.submit("calibrate", logits="digits-mlp").wait(progress=True)
        print(job.report.headline)
        calibrations = [one.record.details for one in job.results if "method" in one.record.details]
    (temperature,) = [one["temperature"] for one in calibrations if one["method"] == "ts"]
    print(f"softmax(logits / {temperature:.3f})")

    # The same without a service.
    found = ddcal.local.calibrate(logits["logits_fit"], logits["labels_fit"])
    measured = ddcal.local.measure(found(logits["logits_test"]), logits["labels_test"])
    print(f"here: T {found.temperature:.3f}, ECE {measured['expected_calibration_error']:.3f}")


if __name__ == "__main__":
    main()
