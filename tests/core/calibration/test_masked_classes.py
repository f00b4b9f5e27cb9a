"""Logits of any size, and classes masked by -1e9, finfo.min and the like.

Oracles: mpmath's root of the derivative on the columns that were not masked, and fits of these
columns alone.
"""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddcal_core.calibration.failure_signatures import logit_spread, temperature_failure
from ddcal_core.calibration.masked_classes import masked_gap
from ddcal_core.calibration.temperature import fit_temperature
from ddcal_core.calibration.vector_scaling import fit_vector_scaling
from ddcal_core.metrics import check_logits

N, K = 200, 6
MASKS = [-1e3, -1e4, -65504.0, -1e9, -1e17, -1e30, float(np.finfo(np.float32).min)]


def rows(seed, *, n=N, k=K, scale=5.0):
    """Over-confident logits float64, and labels that follow them in three of five rows."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, k)) * scale
    follows = generator.random(n) < 0.6
    labels = np.where(follows, logits.argmax(1), generator.integers(0, k, n))
    return torch.tensor(logits), torch.tensor(labels)


def best_temperature(logits, labels):
    """T by mpmath at 40 digits: where the NLL's derivative in b = 1 / T is 0, rows of any width."""
    with mpmath.workdps(40):
        own = [[mpmath.mpf(float(value)) for value in row] for row in logits]

        def slope(b):
            total = mpmath.mpf(0)
            for row, label in zip(own, labels, strict=True):
                weights = [mpmath.exp(b * (value - max(row))) for value in row]
                mean = mpmath.fdot(weights, row) / mpmath.fsum(weights)
                total += mean - row[label]
            return total

        return float(1 / mpmath.findroot(slope, (0.05, 2.0), solver="anderson"))


@pytest.mark.parametrize("mask", MASKS)
def test_a_masked_class_contributes_nothing(mask):
    """T, NLL and standard error are those of the other columns, T to 1e-9 of mpmath's."""
    logits, labels = rows(0, n=60)
    with_mask = torch.cat([logits, torch.full((60, 1), mask, dtype=torch.float64)], 1)
    fit = fit_temperature(with_mask, labels)
    alone = fit_temperature(logits, labels)
    assert fit.temperature == pytest.approx(best_temperature(logits.tolist(), labels), rel=1e-9)
    assert fit.temperature == pytest.approx(alone.temperature, rel=1e-12)
    assert fit.standard_error == pytest.approx(alone.standard_error, rel=1e-9)
    assert fit.nll_after == pytest.approx(alone.nll_after, rel=1e-12)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_may_mask_different_classes(mask, dtype):
    """As action masks do: two classes of each row, never its label's; ragged rows to mpmath."""
    logits, labels = rows(1, n=60)
    logits = logits.to(dtype)
    kept, masked = [], logits.clone()
    for i, label in enumerate(labels.tolist()):
        out = {(label + 1 + i % 2) % K, (label + 3) % K}
        masked[i, sorted(out)] = mask
        kept.append([value for k, value in enumerate(logits[i].tolist()) if k not in out])
    own = [sum(k not in {(y + 1 + i % 2) % K, (y + 3) % K} for k in range(y))
           for i, y in enumerate(labels.tolist())]  # fmt: skip
    fit = fit_temperature(masked, labels)
    assert fit.temperature == pytest.approx(best_temperature(kept, own), rel=1e-9)


@pytest.mark.parametrize("n", [3_000, 60_000])
def test_masks_in_large_float32_sets(n):
    """The passes in float32 and on few rows leave masks out, too."""
    logits, labels = (one for one in rows(2, n=n))
    masked = torch.cat([logits, torch.full((n, 2), -1e30, dtype=torch.float64)], 1).float()
    alone = fit_temperature(logits.float(), labels)
    assert fit_temperature(masked, labels).temperature == pytest.approx(alone.temperature, rel=1e-9)


@pytest.mark.parametrize("mask", MASKS)
def test_limits_are_those_of_the_other_columns(mask):
    """Perfect, hopeless and constant logits have the status and limit they have without a mask."""
    logits, labels = rows(3)
    cases = [(logits, logits.argmax(1)), (logits, logits.argmin(1)), (logits * 0, labels)]
    for own, wanted in cases:
        with_mask = torch.cat([own, torch.full((N, 1), mask, dtype=torch.float64)], 1)
        fit, alone = fit_temperature(with_mask, wanted), fit_temperature(own, wanted)
        assert (fit.status, fit.temperature) == (alone.status, alone.temperature)
        assert fit.nll_after == pytest.approx(alone.nll_after, abs=1e-12)


@pytest.mark.parametrize("mask", MASKS)
def test_the_spread_is_that_of_the_other_columns(mask):
    """So that no mask makes a temperature "nearly certain"."""
    logits, labels = rows(4)
    with_mask = torch.cat([logits, torch.full((N, 3), mask, dtype=torch.float64)], 1)
    spread = float((logits.amax(1) - logits.mean(1)).mean())
    assert logit_spread(with_mask, labels) == pytest.approx(spread, rel=1e-12)
    temperature = fit_temperature(with_mask, labels).temperature
    assert temperature_failure(temperature, logit_spread(with_mask, labels)) is None


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e3, 1e6, 1e30])
def test_logits_without_masks_have_none(scale):
    """Of any scale, also where every label is right, some rows exploded, or a label is masked."""
    logits, labels = rows(5)
    logits *= scale
    exploded = logits.clone()
    exploded[:5, 2] = 1e38 * max(1, scale)
    wrong = torch.where(labels == 2, 3, labels)
    label_masked = torch.cat([logits, torch.full((N, 1), -1e9 * scale, dtype=torch.float64)], 1)
    label_masked_at = torch.where(torch.arange(N) == 7, K, labels)
    for own, of in [
        (logits, labels),
        (logits, logits.argmax(1)),
        (exploded, wrong),
        (label_masked, label_masked_at),
        (logits[:, :2], labels % 2),
        (logits.clamp(min=float(logits.median())), labels),
    ]:
        assert masked_gap(own, of) == math.inf


MAGNITUDES = st.one_of(
    st.floats(-40, 40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -1e9, -1e17, -1e30, 1e30, 1e300, -1.7e308, 1.7e308, 5e-324, 1e-300]),
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_finite_logits_have_a_temperature_or_a_status(data):
    """No error, whatever the magnitudes; T finite and above 0 exactly where it is the status."""
    n, k = data.draw(st.integers(1, 8)), data.draw(st.integers(2, 4))
    values = data.draw(st.lists(MAGNITUDES, min_size=n * k, max_size=n * k))
    logits = torch.tensor(values, dtype=torch.float64).view(n, k)
    labels = torch.tensor(data.draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))
    try:
        check_logits(logits, labels)
    except ValueError:
        return  # rows of probabilities are refused by name
    fit = fit_temperature(logits, labels)
    assert (fit.temperature is not None) == (fit.status == "ok")
    assert fit.temperature is None or 0 < fit.temperature < math.inf
    assert 0 <= logit_spread(logits, labels) < math.inf


@pytest.mark.parametrize("size", [1e17, 1e30, 1e300])
def test_rows_that_explode_on_their_label_change_nothing(size):
    """A certain and right row has no say in T: that of all others at the same n."""
    logits, labels = rows(6, n=60)
    exploded = logits.clone()
    exploded[range(4), labels[:4]] = size
    others = best_temperature(logits[4:].tolist(), labels[4:])
    assert fit_temperature(exploded, labels).temperature == pytest.approx(others, rel=1e-9)


@pytest.mark.parametrize("mask", MASKS)
def test_vector_scaling_leaves_masked_classes_out(mask):
    """Probabilities of the other columns are those fitted on them alone; of the masked, 0."""
    logits, labels = rows(7)
    with_mask = torch.cat([logits, torch.full((N, 1), mask, dtype=torch.float64)], 1)
    fit, alone = fit_vector_scaling(with_mask, labels), fit_vector_scaling(logits, labels)
    assert fit.status == alone.status == "ok"
    assert fit.nll_after == pytest.approx(alone.nll_after, rel=1e-9)
    found = fit.scaling.apply(with_mask)
    assert float(found[:, K].max()) == 0
    assert torch.allclose(found[:, :K], alone.scaling.apply(logits), atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e2, 1e5, 1e9, 1e16, 1e30, 1e300]))
def test_vector_scaling_of_rows_of_any_size_ends(seed, size):
    """Rows that explode end in a status, and in probabilities wherever there is a scaling."""
    logits, labels = rows(seed, n=30, k=3)
    logits[torch.arange(30) % 4 == 0] *= size
    fit = fit_vector_scaling(logits, labels)
    if fit.scaling is not None:
        assert torch.allclose(fit.scaling.apply(logits).sum(1), torch.ones(30).double())
