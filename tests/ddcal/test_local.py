"""Calibrating logits without a service."""

import numpy as np
import pytest
import torch

import ddcal.local

TRUE_TEMPERATURE = 2.5
N, K = 4000, 5


def plain_ece(shares, labels, n_bins):
    """The ECE, bin by bin (a, b]."""
    confidence, hits = shares.max(1), shares.argmax(1) == labels
    total = 0.0
    for k in range(n_bins):
        inside = (confidence > k / n_bins) & (confidence <= (k + 1) / n_bins)
        if inside.any():
            total += abs(confidence[inside].mean() - hits[inside].mean()) * inside.mean()
    return total


@pytest.fixture(scope="module")
def drawn():
    """Logits that are over-confident by a known temperature, and labels drawn from them."""
    generator = np.random.default_rng(0)
    honest = 2 * generator.normal(size=(N, K))
    shares = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    labels = (generator.random(N)[:, None] > shares.cumsum(1)).sum(1)
    return honest * TRUE_TEMPERATURE, labels


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, np.ndarray.tolist])
def test_the_temperature_is_found(drawn, kind):
    """Of whatever arrays people have; applied, it mends what it can."""
    logits, labels = (kind(one) for one in drawn)
    found = ddcal.local.calibrate(logits, labels)
    assert (found.method, found.status, found.n) == ("ts", "ok", N)
    assert found.temperature == pytest.approx(TRUE_TEMPERATURE, rel=0.05)
    after = found(logits)
    assert torch.allclose(after.sum(1), torch.ones(N, dtype=torch.float64))
    before = torch.softmax(torch.as_tensor(drawn[0]), 1)
    name = "expected_calibration_error"
    measured = [ddcal.local.measure(one, labels)[name] for one in (before, after)]
    assert measured[1] < measured[0] / 4


@pytest.mark.parametrize("method", ["vector", "isotonic", "ets"])
def test_other_methods_have_a_scaling(drawn, method):
    """And no temperature; they are applied the same way."""
    found = ddcal.local.calibrate(*drawn, method)
    assert found.temperature is None
    after = ddcal.local.measure(found(drawn[0]), drawn[1])
    assert after["expected_calibration_error"] < 0.05


def test_what_cannot_be_fitted_is_told():
    """A separable fit has a status, and nothing to apply."""
    logits, labels = np.eye(3) * 9, np.arange(3)
    found = ddcal.local.calibrate(logits, labels)
    assert (found.status, found.temperature) == ("separable", None)
    with pytest.raises(ValueError, match="got none: separable"):
        found(logits)


def test_measures_are_those_of_a_slow_loop(drawn):
    """Accuracy and ECE counted by hand, with any number of bins."""
    shares = torch.softmax(torch.as_tensor(drawn[0]), 1).numpy()
    for n_bins in (5, 15):
        measured = ddcal.local.measure(shares, drawn[1], n_bins=n_bins)
        assert measured["expected_calibration_error"] == pytest.approx(
            plain_ece(shares, drawn[1], n_bins)
        )
    assert measured["accuracy"] == np.mean(shares.argmax(1) == drawn[1])
    assert all(isinstance(value, float) for value in measured.values())


def test_labels_have_to_be_integers(drawn):
    """Not rounded in silence."""
    with pytest.raises(ValueError, match="wanted integer labels"):
        ddcal.local.calibrate(drawn[0], drawn[1] + 0.5)
