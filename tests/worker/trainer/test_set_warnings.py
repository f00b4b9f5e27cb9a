import pytest
import torch

from ddcal_core.distillation.loop import Outcome
from ddcal_core.distillation.method import DistilledSet
from worker.trainer.fitting.set_warnings import set_warnings

LABELS = torch.arange(10).repeat_interleave(100)  # to guess is 10 %, its standard error 0.95 %


def outcome_of(scores, chosen_step):
    """A run with these scores."""
    return Outcome(
        distilled=DistilledSet(torch.zeros(10, 1, 4, 4), torch.arange(10)),
        chosen_step=chosen_step,
        n_steps=100,
        scores=scores,
        n_rollbacks=0,
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ("scores", "codes"),
    [
        ({0: 0.30, 50: 0.55, 100: 0.50}, []),
        ({0: 0.30, 50: 0.29, 100: 0.20}, ["below_start"]),
        ({0: 0.08, 50: 0.118, 100: 0.10}, ["guesses"]),
        ({0: 0.08, 50: 0.121, 100: 0.10}, []),
        ({0: 0.30, 50: 0.10, 100: 0.05}, ["below_start", "guesses"]),
    ],
)
def test_a_poor_set_says_so(scores, codes):
    """Worse than its start, and within the 95 % interval (up to 12 %) of guessing."""
    assert [one.code for one in set_warnings(outcome_of(scores, 50), LABELS)] == codes


def test_the_numbers_are_said():
    """Both accuracies and how many images they are of."""
    below, guesses = set_warnings(outcome_of({0: 0.3, 50: 0.1}, 50), LABELS)
    gets = "a network trained on the set gets 10.0% of 1,000 validation images right"
    assert below.message == f"{gets}; on the images that the distillation began from, 30.0%"
    assert guesses.message == f"{gets}; naming the largest class always gets 10.0%"


def test_guessing_is_the_share_of_the_largest_class():
    """Nine tenths of one class: 90 % is a guess."""
    labels = torch.tensor([0] * 900 + [1] * 100)
    (warning,) = set_warnings(outcome_of({0: 0.5, 50: 0.9}, 50), labels)
    assert warning.code == "guesses"


def test_a_set_without_scores_has_none():
    """Nothing was measured, and nothing is said."""
    assert set_warnings(outcome_of({}, 100), torch.tensor([], dtype=torch.int64)) == ()
