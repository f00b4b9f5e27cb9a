import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from ddcal_core.calibration.ensemble import fit_ensemble
from ddcal_core.calibration.isotonic import IsotonicScaling, fit_isotonic
from ddcal_core.calibration.masked import fit_temperature
from ddcal_core.calibration.vector_scaling import fit_vector_scaling
from ddcal_core.metrics import negative_log_likelihood
from ddcal_core.seeding import seeded_generator


def some_logits(seed, n=300, n_classes=4, scale=3.0, *, follow=0.6):
    """Logits float64 whose classes are off by factors and offsets, and labels that follow them."""
    generator = seeded_generator(seed, "logits")
    logits = torch.randn((n, n_classes), generator=generator, dtype=torch.float64)
    labels = torch.randint(n_classes, (n,), generator=generator)
    follows = torch.rand(n, generator=generator) < follow
    labels = torch.where(follows, logits.argmax(1), labels)
    factors = torch.linspace(0.5, 1.5, n_classes, dtype=torch.float64)
    return (logits * factors + factors) * scale, labels


def slow_vector_scaling(logits, labels, prior_precision=1.0):
    """Weights and biases by scipy's trust-region Newton on the objective, written out."""
    z, y = logits.double().numpy(), labels.numpy()
    temperature = fit_temperature(logits, labels).temperature
    x = (z - z.mean(1, keepdims=True)) / temperature
    n, n_classes = z.shape

    def objective(parameters):
        u, v = parameters.reshape(2, n_classes)
        s = x * (1 + u) + v
        nll = np.mean(logsumexp(s, axis=1) - s[np.arange(n), y])
        off = softmax(s, axis=1) - np.eye(n_classes)[y]
        slope = np.concatenate([(off * x).sum(0), off.sum(0)]) / n
        ridge = prior_precision / n
        return nll + ridge / 2 * (parameters**2).sum(), slope + ridge * parameters

    found = minimize(
        objective, np.zeros(2 * n_classes), jac=True, method="BFGS", options={"gtol": 1e-11}
    )
    u, v = found.x.reshape(2, n_classes)
    return (1 + u) / temperature, v, found.fun


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(20, 200),
    st.integers(2, 6),
    st.sampled_from([0.1, 1.0, 30.0]),
)
def test_vector_scaling_is_what_scipy_finds(seed, n, prior, log_scale):
    """Weights, biases and probabilities equal those of scipy's minimiser, in any scale."""
    logits, labels = some_logits(seed, n, 4, log_scale)
    fit = fit_vector_scaling(logits, labels, prior_precision=prior)
    if fit_temperature(logits, labels).status != "ok":
        assert fit.status != "ok"
        return
    weights, biases, _ = slow_vector_scaling(logits, labels, prior)
    assert fit.status == "ok"
    assert np.array(fit.scaling.weights) * log_scale == pytest.approx(weights * log_scale, abs=1e-5)
    assert fit.scaling.biases == pytest.approx(biases, abs=1e-5)
    assert sum(fit.scaling.biases) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_vector_scaling_is_least_and_told(seed):
    """No step in any direction lowers the objective; the NLLs are those of its probabilities."""
    logits, labels = some_logits(seed)
    fit = fit_vector_scaling(logits, labels)
    probabilities = fit.scaling.apply(logits)
    at_label = probabilities.gather(1, labels[:, None])
    assert fit.nll_after == pytest.approx(-float(at_label.log().mean()), rel=1e-12)
    assert fit.nll_before == pytest.approx(negative_log_likelihood(logits, labels))
    assert fit.nll_after < fit_temperature(logits, labels).nll_after < fit.nll_before
    z = (logits - logits.mean(1, keepdim=True)).numpy()
    u, v = np.array(fit.scaling.weights) * fit.temperature - 1, np.array(fit.scaling.biases)
    off = probabilities.numpy() - np.eye(4)[labels.numpy()]
    slope_u = (off * z / fit.temperature).mean(0) + u / 300
    slope_v = off.mean(0) + v / 300
    assert np.abs([slope_u, slope_v]).max() < 1e-9


def test_a_strong_prior_is_temperature_scaling():
    """With a precision of 1e12 only the temperature is left."""
    logits, labels = some_logits(0)
    temperature = fit_temperature(logits, labels).temperature
    fit = fit_vector_scaling(logits, labels, prior_precision=1e12)
    assert fit.scaling.weights == pytest.approx([1 / temperature] * 4, rel=1e-6)
    assert torch.allclose(fit.scaling.apply(logits), (logits / temperature).softmax(1), atol=1e-6)


def test_an_offset_of_every_logit_does_not_matter():
    """Logits and log probabilities give the same scaling."""
    logits, labels = some_logits(1)
    fit, of_logs = (fit_vector_scaling(z, labels) for z in (logits, logits.log_softmax(1)))
    assert of_logs.scaling.weights == pytest.approx(fit.scaling.weights, rel=1e-7)
    assert torch.allclose(
        fit.scaling.apply(logits), of_logs.scaling.apply(logits.log_softmax(1)), atol=1e-9
    )


def test_known_factors_are_found_again():
    """Labels drawn from a vector-scaled model: with 20,000 of them its parameters come back."""
    generator = seeded_generator(0, "drawn")
    logits = torch.randn((20_000, 3), generator=generator, dtype=torch.float64) * 4
    weights, biases = torch.tensor([0.2, 0.5, 0.4]), torch.tensor([-0.5, 0.0, 0.5])
    centred = logits - logits.mean(1, keepdim=True)
    chances = (centred * weights + biases).softmax(1)
    labels = torch.multinomial(chances, 1, generator=generator)[:, 0]
    fit = fit_vector_scaling(logits, labels)
    assert fit.scaling.weights == pytest.approx(weights.tolist(), abs=0.03)
    assert fit.scaling.biases == pytest.approx(biases.tolist(), abs=0.06)


@pytest.mark.parametrize("pick", ["argmax", "argmin"])
def test_without_a_temperature_there_is_no_vector_scaling(pick):
    """All right or all wrong: the temperature's status, and applying it is refused."""
    logits, _ = some_logits(2)
    labels = getattr(logits, pick)(1)
    fit = fit_vector_scaling(logits, labels)
    assert fit.status == fit_temperature(logits, labels).status != "ok"
    assert (fit.scaling, fit.temperature) == (None, None)


def test_constant_logits_are_unidentified():
    """Equal logits have no scale to start from."""
    fit = fit_vector_scaling(torch.zeros(5, 3), torch.tensor([0, 1, 2, 0, 1]))
    assert fit.status == "unidentified"


def test_a_class_without_labels_keeps_the_solution_finite():
    """The prior holds what the NLL would send to minus infinity."""
    logits, labels = some_logits(3)
    labels = labels.clamp_max(2)
    fit = fit_vector_scaling(logits, labels)
    weights, biases, _ = slow_vector_scaling(logits, labels)
    assert fit.status == "ok"
    assert fit.scaling.biases == pytest.approx(biases, abs=1e-5)
    assert fit.scaling.weights == pytest.approx(weights, abs=1e-5)
    assert -20 < min(fit.scaling.biases) < -1


@pytest.mark.parametrize("precision", [0.0, -1.0, math.inf, math.nan])
def test_precisions_that_are_none_are_refused(precision):
    """The prior's precision is above 0 and finite."""
    with pytest.raises(ValueError, match="wanted a finite precision above 0"):
        fit_vector_scaling(*some_logits(0), prior_precision=precision)


class FixedProbabilities(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier whose inputs are its probabilities."""

    def fit(self, inputs, labels):
        """Know shape and classes; nothing else is learnt."""
        self.n_features_in_ = inputs.shape[1]
        self.classes_ = np.unique(labels)
        return self

    def predict(self, inputs):
        """Give the class of the largest input."""
        return self.classes_[inputs.argmax(1)]

    def predict_proba(self, inputs):
        """Give the inputs back."""
        return inputs


@pytest.mark.parametrize("scale", [0.3, 3.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_isotonic_is_scikit_learns(seed, scale):
    """On fitted and on new logits the probabilities of its CalibratedClassifierCV."""
    (logits, labels), (others, _) = some_logits(seed, scale=scale), some_logits(seed + 100)
    raw, new = logits.softmax(1).numpy(), others.softmax(1).numpy()
    fixed = FixedProbabilities().fit(raw, labels.numpy())
    peer = CalibratedClassifierCV(FrozenEstimator(fixed), method="isotonic")
    peer.fit(raw, labels.numpy())
    fit = fit_isotonic(logits, labels)
    assert (fit.status, fit.n) == ("ok", 300)
    assert np.allclose(fit.scaling.apply(logits).numpy(), peer.predict_proba(raw), atol=1e-12)
    assert np.allclose(fit.scaling.apply(others).numpy(), peer.predict_proba(new), atol=1e-12)


def test_isotonic_of_four_is_known_by_hand():
    """Two classes, hits 0 1 0 1 by rising p: the middle two are pooled to 1/2."""
    p = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64)
    logits = torch.stack([p.log(), (1 - p).log()], 1)
    got = fit_isotonic(logits, torch.tensor([1, 0, 1, 0])).scaling.apply(logits)
    assert got[:, 0].tolist() == pytest.approx([0, 0.5, 0.5, 1])
    assert got.sum(1).tolist() == pytest.approx([1, 1, 1, 1])


def test_a_row_without_any_share_is_uniform():
    """Functions that are 0 up to 1/2 leave equal logits nothing: 1 / K each; others are kept."""
    functions = IsotonicScaling(((0.0, 0.5, 1.0),) * 3, ((0.0, 0.0, 1.0),) * 3)
    got = functions.apply(torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]], dtype=torch.float64))
    assert got[0].tolist() == pytest.approx([1 / 3] * 3)
    assert got[1].tolist() == [1.0, 0.0, 0.0]


def test_one_class_is_told():
    """All labels the same: every answer is that class for certain, and the status says why."""
    logits, _ = some_logits(4)
    fit = fit_isotonic(logits, torch.ones(300, dtype=torch.int64))
    assert fit.status == "one_class"
    assert torch.equal(fit.scaling.apply(logits)[:, 1], torch.ones(300, dtype=torch.float64))


@pytest.mark.parametrize("fit", [fit_vector_scaling, fit_isotonic, fit_ensemble])
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), r"shape \(0, 3\)"),
        (torch.tensor([[math.nan, 1.0]]), torch.tensor([0]), "NaN or infinite"),
        (torch.zeros(1, 2), torch.tensor([2]), "wanted labels 0 to 1, got 2 to 2"),
        (torch.tensor([[0.2, 0.8]]), torch.tensor([0]), "looks like probabilities"),
    ],
)
def test_fits_refuse_what_a_temperature_refuses(fit, logits, labels, message):
    """Empty, NaN, labels out of range and probabilities are refused."""
    with pytest.raises(ValueError, match=message):
        fit(logits, labels)


@pytest.mark.parametrize("fit", [fit_vector_scaling, fit_isotonic])
def test_fits_apply_to_as_many_classes(fit):
    """Logits of other classes, or not finite ones, are refused; float32 ones give float64."""
    logits, labels = some_logits(5)
    scaling = fit(logits, labels).scaling
    assert scaling.apply(logits.float()).dtype == torch.float64
    with pytest.raises(ValueError, match=r"wanted logits \(N, 4\), got shape \(300, 3\)"):
        scaling.apply(logits[:, :3])
    with pytest.raises(ValueError, match="wanted finite logits"):
        scaling.apply(torch.full((1, 4), math.nan))
