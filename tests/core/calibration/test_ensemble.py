import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from ddcal_core.calibration.ensemble import EnsembleScaling, fit_ensemble
from ddcal_core.calibration.masked import fit_temperature
from ddcal_core.metrics import negative_log_likelihood
from ddcal_core.seeding import seeded_generator
from tests.core.calibration.test_scaling import some_logits


def parts_of(logits, labels, temperature):
    """Tempered, plain and uniform probability of each label, by scipy's softmax."""
    z, y = logits.double().numpy(), labels.numpy()
    rows = np.arange(len(y))
    tempered, plain = softmax(z / temperature, axis=1)[rows, y], softmax(z, axis=1)[rows, y]
    return np.stack([tempered, plain, np.full(len(y), 1 / z.shape[1])], 1)


def nll_of(parts, weights):
    """Mean NLL of a mixture."""
    with np.errstate(divide="ignore"):
        return -np.log(parts @ np.asarray(weights)).mean()


def all_weights(n_steps):
    """Every triple of multiples of 1 / n_steps that add up to 1."""
    for one in range(n_steps + 1):
        for two in range(n_steps + 1 - one):
            yield one / n_steps, two / n_steps, (n_steps - one - two) / n_steps


def slow_weights(parts, n_steps=4_000):
    """Expectation maximisation from equal weights, which never lowers the likelihood."""
    weights = np.full(3, 1 / 3)
    for _ in range(n_steps):
        weights = weights * (parts / (parts @ weights)[:, None]).mean(0)
    return weights


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(10, 300),
    st.integers(2, 6),
    st.sampled_from([0.1, 1.0, 30.0, 1_000.0]),
    st.sampled_from([0.3, 0.6, 0.95]),
)
def test_no_weights_are_better(seed, n, n_classes, scale, follow):
    """Neither of a grid nor those of many steps of EM; the temperature is that of TS."""
    logits, labels = some_logits(seed, n, n_classes, scale, follow=follow)
    fit, found = fit_ensemble(logits, labels), fit_temperature(logits, labels)
    assert fit.nll_before == pytest.approx(found.nll_before)
    if found.status != "ok":
        assert (fit.status, fit.scaling) == (found.status, None)
        return
    assert fit.status == "ok"
    assert fit.scaling.ensemble_temperature == found.temperature
    weights = fit.scaling.ensemble_weights
    assert min(weights) >= 0
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    parts = parts_of(logits, labels, found.temperature)
    assert fit.nll_after == pytest.approx(nll_of(parts, weights), abs=1e-9)
    least = min(nll_of(parts, one) for one in all_weights(20))
    assert fit.nll_after <= least + 1e-6
    assert fit.nll_after <= nll_of(parts, slow_weights(parts)) + 1e-6
    assert fit.nll_after <= found.nll_after + 1e-6


def test_a_known_mixture_is_found_again():
    """Labels drawn from a mixture: with 400,000 of them its weights come back."""
    generator = seeded_generator(0, "drawn")
    logits = torch.randn((400_000, 4), generator=generator, dtype=torch.float64) * 5
    is_guessed = torch.rand(len(logits), generator=generator) < 0.2
    right = torch.multinomial((logits / 2).softmax(1), 1, generator=generator)[:, 0]
    labels = torch.where(is_guessed, torch.randint(4, right.shape, generator=generator), right)
    fit = fit_ensemble(logits, labels)
    mixed = fit.scaling.apply(logits)
    wanted = 0.8 * (logits / 2).softmax(1) + 0.05
    assert float((mixed - wanted).abs().mean()) < 0.02
    tempered, plain, uniform = fit.scaling.ensemble_weights
    assert uniform == pytest.approx(0.2, abs=0.06)
    assert tempered + plain == pytest.approx(0.8, abs=0.06)
    assert fit.nll_after < fit_temperature(logits, labels).nll_after - 0.01


def test_two_logits_are_known_in_closed_form():
    """All rows (a, 0), a share s right: the least NLL is the entropy of s."""
    labels = torch.tensor([0] * 7 + [1] * 3)
    logits = torch.tensor([[4.0, 0.0]]).expand(10, 2)
    fit = fit_ensemble(logits, labels)
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    assert fit.nll_after == pytest.approx(entropy, abs=1e-6)
    assert fit.scaling.apply(logits)[0].tolist() == pytest.approx([0.7, 0.3], abs=1e-3)


def test_no_prediction_changes():
    """Nor the order of any two classes; rows are probabilities in float64."""
    logits, labels = some_logits(3, 500, 5, 4.0)
    mixed = fit_ensemble(logits, labels).scaling.apply(logits.float())
    assert mixed.dtype == torch.float64
    torch.testing.assert_close(mixed.sum(1), torch.ones(500, dtype=torch.float64))
    assert torch.equal(mixed.argsort(1), logits.float().argsort(1))


def test_each_part_is_what_it_says():
    """By hand, with each weight alone and all together."""
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 3.0, 0.0]], dtype=torch.float64)
    parts = [softmax(logits.numpy() / 2, axis=1), softmax(logits.numpy(), axis=1), 1 / 3]
    for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.3, 0.2)):
        wanted = sum(w * part for w, part in zip(weights, parts, strict=True))
        got = EnsembleScaling(2.0, weights).apply(logits).numpy()
        assert got == pytest.approx(np.broadcast_to(wanted, got.shape), abs=1e-12)


@pytest.mark.parametrize(
    ("logits", "labels", "status"),
    [
        ([[3.0, 0.0], [0.0, 2.0]], [0, 1], "separable"),
        ([[3.0, 0.0], [0.0, 2.0]], [1, 0], "worse_than_chance"),
        ([[1.0, 1.0], [2.0, 2.0]], [0, 1], "unidentified"),
        ([[3.0, 0.0, 1.0]], [0], "separable"),
        ([[3.0, 0.0, 1.0]], [1], "worse_than_chance"),
    ],
)
def test_without_a_temperature_there_is_no_ensemble(logits, labels, status):
    """The status says why, as that of TS does; the NLLs are those of its limit."""
    z, y = torch.tensor(logits), torch.tensor(labels)
    fit, found = fit_ensemble(z, y), fit_temperature(z, y)
    assert (fit.status, fit.scaling, fit.n) == (status, None, len(labels))
    assert found.status == status
    assert fit.nll_before == pytest.approx(negative_log_likelihood(z, y))
    assert fit.nll_after == found.nll_after


def test_a_class_that_no_label_has_and_logits_beyond_floats_are_fitted():
    """The plain part of a label can be 0 in float64: the others hold the sum up."""
    logits, labels = some_logits(1, 300, 3, 2_000.0, follow=0.9)
    logits, labels = logits[labels < 2], labels[labels < 2]
    assert float(torch.softmax(logits, 1).gather(1, labels[:, None]).min()) == 0
    fit = fit_ensemble(logits, labels)
    assert fit.status == "ok"
    assert math.isfinite(fit.nll_after)
    assert bool((fit.scaling.apply(logits) >= 0).all())
