import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from ddcal_core.calibration.masked import fit_temperature
from ddcal_core.seeding import seeded_generator

METHODS = {"lbfgs_50": 50, "lbfgs_200": 200}


def some_logits(seed, n=400, n_classes=10, scale=1.0, follow=0.6):
    """Random logits float64 and labels that are their argmax in a share of rows."""
    generator = seeded_generator(seed, "logits")
    logits = torch.randn((n, n_classes), generator=generator, dtype=torch.float64)
    labels = torch.randint(n_classes, (n,), generator=generator)
    follows = torch.rand(n, generator=generator) < follow
    return logits * scale, torch.where(follows, logits.argmax(1), labels)


def over_confident():
    """Sixty in a hundred right with a margin of 28 nats, as of networks on distilled images."""
    logits = torch.zeros((1000, 10), dtype=torch.float64)
    logits[:, 0] = 28
    return logits, torch.tensor([0] * 600 + [1] * 400)


def secant(logits, labels, n_steps):
    """L-BFGS in one dimension is the secant method: its steps at rate 0.01 from 1.5, in numpy."""
    z, y = logits.double().numpy(), labels.numpy()

    def slope(t):
        s = z / t
        p = np.exp(s - logsumexp(s, axis=1, keepdims=True))
        return float(np.mean(z[np.arange(len(y)), y] - (p * z).sum(1))) / t**2

    t, gradient, inverse_curvature = 1.5, slope(1.5), 1.0
    step = -min(1.0, 1 / abs(gradient)) * 0.01 * gradient
    for _ in range(n_steps):
        previous, t = gradient, t + step
        gradient = slope(t)
        if step * (gradient - previous) > 1e-10:  # else the curvature is kept, as L-BFGS does
            inverse_curvature = step / (gradient - previous)
        step = -0.01 * gradient * inverse_curvature
    return t


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [0.7, 2.0, 10.0])
def test_named_optimisers_take_the_steps_of_a_secant(method, scale):
    """Where 50 and 200 steps end, and after how many evaluations, written out by hand."""
    logits, labels = some_logits(0, scale=scale)
    fit = fit_temperature(logits, labels, method=method)
    assert fit.reached == pytest.approx(secant(logits, labels, METHODS[method]), rel=1e-6)
    assert (fit.method, fit.iterations) == (method, METHODS[method])
    assert fit.temperature == fit.reached


@pytest.mark.parametrize("method", METHODS)
def test_stopping_far_from_the_optimum_is_told(method):
    """On confident wrong logits the literature's steps stop short; the status says so."""
    logits, labels = over_confident()
    exact = fit_temperature(logits, labels)
    fit = fit_temperature(logits, labels, method=method)
    assert fit.status == "not_converged"
    assert 1.5 < fit.temperature < 0.6 * exact.temperature
    assert fit.nll_after > 1.3 * exact.nll_after
    assert fit.nll_before == exact.nll_before
    assert fit.standard_error is None


def test_more_steps_come_nearer():
    """Two hundred steps end nearer the optimum than fifty."""
    logits, labels = over_confident()
    exact, fifty, two_hundred = (
        fit_temperature(logits, labels, method=method).temperature
        for method in ("exact", "lbfgs_50", "lbfgs_200")
    )
    assert fifty < two_hundred < exact


def test_an_optimiser_that_gets_there_is_ok():
    """Where the optimum lies at the start the steps find it, and the error is the exact one's."""
    logits, labels = some_logits(1)
    logits = logits * (1.5 / fit_temperature(logits, labels).temperature)
    fit = fit_temperature(logits, labels, method="lbfgs_200")
    assert fit.status == "ok"
    assert fit.temperature == pytest.approx(1.5, rel=1e-3)
    assert fit.standard_error == fit_temperature(logits, labels).standard_error


@pytest.mark.parametrize("seed", range(2))
def test_ending_below_zero_is_no_temperature(seed):
    """All labels right drive T across 0 (AutoGluon saw -1242): told, and no temperature given."""
    logits, _ = some_logits(seed, scale=3)
    fit = fit_temperature(logits, logits.argmax(1), method="lbfgs_200")
    assert fit.reached < 0
    assert (fit.status, fit.temperature, fit.standard_error) == ("not_positive", None, None)


@pytest.mark.parametrize(("method", "wanted"), [("lbfgs_50", 1.89), ("lbfgs_200", 3.7)])
def test_a_set_worse_than_chance_stops_where_peers_stop(method, wanted):
    """Labels the smallest logits: T should grow without end; peers report 1.89 and 3.7."""
    logits, _ = some_logits(0)
    fit = fit_temperature(logits, logits.argmin(1), method=method)
    assert (fit.status, fit.temperature) == ("not_converged", pytest.approx(wanted, rel=0.02))


@pytest.mark.parametrize("method", METHODS)
def test_a_separable_set_is_not_converged(method):
    """All right: no temperature is best, so wherever the steps stop is not the optimum."""
    logits, _ = some_logits(3)
    fit = fit_temperature(logits, logits.argmax(1), method=method)
    assert fit.status in {"not_converged", "not_positive"}
    assert math.isfinite(fit.reached)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_lower_precision_is_solved_in_float32(dtype):
    """Half precision logits run in float32 and end where float64 does, nearly."""
    logits, labels = some_logits(4)
    logits = logits.to(dtype)
    fit = fit_temperature(logits, labels, method="lbfgs_50")
    wanted = fit_temperature(logits.double(), labels, method="lbfgs_50")
    assert fit.temperature == pytest.approx(wanted.temperature, rel=1e-4)


def test_the_exact_method_is_the_default():
    """Without a name nothing of the literature runs."""
    logits, labels = some_logits(5)
    fit = fit_temperature(logits, labels)
    assert (fit.method, fit.reached) == ("exact", None)
    assert fit == fit_temperature(logits, labels, method="exact")


def test_other_methods_are_refused():
    """A method is one of three names."""
    with pytest.raises(ValueError, match="wanted a method of exact, lbfgs_50, lbfgs_200; got adam"):
        fit_temperature(*some_logits(0), method="adam")


@pytest.mark.parametrize("method", METHODS)
def test_input_is_left_as_it_was(method):
    """Neither logits nor labels change, and no gradients are left."""
    logits, labels = some_logits(8)
    kept = logits.clone(), labels.clone()
    fit_temperature(logits, labels, method=method)
    assert torch.equal(logits, kept[0])
    assert torch.equal(labels, kept[1])
    assert logits.grad is None
