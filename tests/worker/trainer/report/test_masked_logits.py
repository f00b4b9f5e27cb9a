import pytest

from ddcal_core.calibration.masked_logits import MaskedLogits
from ddcal_core.specs.masks import MaskShape
from worker.trainer.report.masked_logits import masked_logit_curves
from worker.trainer.report.training_sets import Network, TrainingSet

GROUP = TrainingSet(label="set", images="", models=(Network("a"), Network("b")))


class Told:
    """A fitter that has looked at the logits already."""

    def __init__(self, *found):
        self._found = list(found)

    def masked_logits(self, *_asked):
        """What is next."""
        return self._found.pop(0)


def curve_of(first, last, ratios=(0.0, 0.9)):
    """The curve of two networks with the same logits."""
    fitters = {
        name: Told(*(MaskedLogits(*one, 0.5) for one in (first, last))) for name in ("a", "b")
    }
    calls = []
    (curve,) = masked_logit_curves(
        [GROUP],
        fitters,
        shape=MaskShape(),
        ratios=ratios,
        on_network=lambda: calls.append(None),
    )
    assert len(calls) == 2 * len(ratios)
    return curve


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ((4.0, 1.0), (2.0, 0.8), "smaller (4 to 2) and, relative to their mean, more varied "
         "(deviation 25 % to 40 % of it), as the paper says."),
        ((4.0, 1.0), (2.0, 0.4), "less varied (deviation 25 % to 20 % of it), the paper says "
         "smaller and more varied."),
        ((2.0, 1.0), (4.0, 1.0), "larger (2 to 4) and, relative to their mean, less varied "
         "(deviation 50 % to 25 % of it), against what the paper says."),
        ((2.0, 1.0), (-4.0, 1.0), "smaller (2 to −4); where they are below 0 on average their "
         "variation has no meaning."),
    ],
)  # fmt: skip
def test_variety_is_told_free_of_scale(first, last, words):
    """A temperature takes the scale away: less of a deviation may be more of the mean."""
    said = curve_of(first, last).words.replace("\u202f", " ")
    assert said.startswith("set: from 0 % to 90 % masked the largest logits become ")
    assert said.endswith(words)


def test_one_ratio_says_nothing_and_none_is_no_curve():
    """There has to be something to compare."""
    assert curve_of((1.0, 1.0), (1.0, 1.0), ratios=(0.5,)).words.startswith("set: one ratio alone")
    assert (
        masked_logit_curves([GROUP], {}, shape=MaskShape(), ratios=(), on_network=lambda: None)
        == []
    )
