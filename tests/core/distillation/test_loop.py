import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ddcal_core.distillation.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from ddcal_core.distillation.loop import Selection, distill
from ddcal_core.distillation.method import DistilledSet
from ddcal_core.distillation.sgd import descend, with_momentum
from ddcal_core.errors import DivergedError, InvalidDataError, StoppedError
from ddcal_core.seeding import seeded_generator

RECIPE = "5e1f"


class Bowl:
    """Descent into |x|^2 / 2 with noise named by the step; `broken` maps a step to its losses."""

    stuck_loss = None

    def __init__(self, broken=None, spoilt=()):
        self.broken = broken or {}
        self.spoilt = spoilt
        self.calls = []

    def initial_state(self):
        return with_momentum("images", torch.linspace(-2, 2, 8).view(2, 1, 2, 2))

    def step(self, state, step, *, lr_scale):
        self.calls.append((step, lr_scale))
        noise = torch.randn(8, generator=seeded_generator(0, "noise", step)).view(2, 1, 2, 2)
        loss = float(state["images"].square().sum() / 2)
        descend(state, "images", state["images"] + 0.1 * noise, 0.1 * lr_scale, 0.5)
        if step in self.spoilt and lr_scale == 1:
            state["images"][0, 0, 0, 0] = math.inf
            return loss
        if step in self.broken and (lr_scale == 1 or self.broken[step] == "always"):
            return math.nan
        return loss

    def distilled_set(self, state):
        return DistilledSet(state["images"].clone(), torch.tensor([0, 1]))


def scores_of(values):
    """A selection whose sets have the scores given, in order; the first is the start's."""
    left = iter(values)
    return Selection(lambda _set, _tick: next(left), len(values) - 1)


def by_size(n_evaluations, patience=None):
    """A selection that depends on the set alone."""
    return Selection(
        lambda made, _: 1 / (1 + float(made.images.square().sum())), n_evaluations, patience
    )


def written_out(n_steps, broken_at=None):
    """The bowl's images after so many steps, from the formula, in float64."""
    x, v, scale = torch.linspace(-2, 2, 8).double(), torch.zeros(8).double(), 1.0
    for step in range(n_steps):
        if step == broken_at:
            scale = 0.5
        noise = torch.randn(8, generator=seeded_generator(0, "noise", step)).double()
        v = 0.5 * v + x + 0.1 * noise
        x = x - 0.1 * scale * v
    return x.view(2, 1, 2, 2)


def test_steps_are_those_of_descent_with_momentum():
    """Forty steps are the formula's; without selection the last set is kept."""
    outcome = distill(Bowl(), n_steps=40)
    torch.testing.assert_close(outcome.distilled.images.double(), written_out(40))
    assert (outcome.chosen_step, outcome.n_steps, outcome.n_rollbacks) == (40, 40, 0)
    assert outcome.scores == {}


def test_descent_is_that_of_torch_bit_for_bit():
    """SGD of torch with momentum over ten gradients."""
    generator = seeded_generator(1)
    start = torch.randn(5, generator=generator)
    parameter, state = start.clone().requires_grad_(), with_momentum("x", start.clone())
    optimiser = torch.optim.SGD([parameter], lr=0.3, momentum=0.7)
    for _ in range(10):
        gradient = torch.randn(5, generator=generator)
        parameter.grad = gradient.clone()
        optimiser.step()
        descend(state, "x", gradient, 0.3, 0.7)
    assert torch.equal(parameter.detach(), state["x"])


def test_checkpoints_come_at_fixed_steps():
    """Each hundredth, each evaluation and the end; of few steps each one, of many each tenth."""
    seen = []
    distill(
        Bowl(),
        n_steps=250,
        selection=by_size(4),
        on_checkpoint=lambda checkpoint: seen.append(checkpoint.step),
    )
    assert seen == sorted({*range(2, 251, 2), 63, 125, 188, 250})
    seen.clear()
    distill(Bowl(), n_steps=3, on_checkpoint=lambda checkpoint: seen.append(checkpoint.step))
    assert seen == [1, 2, 3]
    seen.clear()
    distill(Bowl(), n_steps=5_000, on_checkpoint=lambda checkpoint: seen.append(checkpoint.step))
    assert seen == list(range(10, 5_001, 10))


@pytest.mark.parametrize("n_stopped", [1, 2, 7, 11, 12, 13, 29])
@pytest.mark.parametrize("broken", [{}, {12: "once"}])
def test_a_resumed_run_ends_in_the_same_bytes(tmp_path, n_stopped, broken):
    """Stopped after any step, before or after a rollback, and gone on from the file."""
    n_steps, path = 30, tmp_path / "checkpoint.safetensors"

    def stop(report):
        if report.step == n_stopped:
            raise StoppedError

    def write(checkpoint):
        write_checkpoint(path, checkpoint, RECIPE)

    whole = distill(Bowl(broken), n_steps=n_steps, selection=by_size(5))
    with pytest.raises(StoppedError):
        distill(
            Bowl(broken),
            n_steps=n_steps,
            selection=by_size(5),
            on_checkpoint=write,
            on_progress=stop,
        )
    read = read_checkpoint(path, RECIPE) if path.exists() else None
    assert (read.step if read else 0) == n_stopped - 1
    again = distill(Bowl(broken), n_steps=n_steps, selection=by_size(5), resume_from=read)
    assert torch.equal(again.distilled.images, whole.distilled.images)
    assert dict(again.scores) == dict(whole.scores)
    assert (again.chosen_step, again.n_rollbacks) == (whole.chosen_step, len(broken))


def test_the_way_back_is_the_last_checkpoint_at_half_the_step():
    """From the checkpoint before the broken loss on: the formula with half the step size."""
    bowl = Bowl({205: "once"})
    outcome = distill(bowl, n_steps=300)
    assert outcome.n_rollbacks == 1
    assert bowl.calls[205:210] == [(205, 1.0), (204, 0.5), (205, 0.5), (206, 0.5), (207, 0.5)]
    torch.testing.assert_close(outcome.distilled.images.double(), written_out(300, broken_at=204))


def test_images_that_are_not_finite_send_it_back_too():
    """A finite loss and an infinite image: found at the end of the stretch, before it is kept."""
    kept = []
    outcome = distill(Bowl(spoilt=(250,)), n_steps=300, on_checkpoint=kept.append)
    assert outcome.n_rollbacks == 1
    assert all(bool(c.state["images"].isfinite().all()) for c in kept)
    torch.testing.assert_close(outcome.distilled.images.double(), written_out(300, broken_at=249))


class Blown(Bowl):
    """A bowl in which, from a step on, one thing goes wrong that stays finite.

    Args:
        what: "pixel", "rate" or "loss".
        from_step: the step, from 0, after which it does.
        is_cured: whether half the step size helps.
    """

    stuck_loss = 7.0

    def __init__(self, what, from_step, *, is_cured):
        super().__init__()
        self.what, self.from_step, self.is_cured = what, from_step, is_cured

    def initial_state(self):
        return {**super().initial_state(), "lr": torch.tensor(0.01)}

    def step(self, state, step, *, lr_scale):
        loss = super().step(state, step, lr_scale=lr_scale)
        if step < self.from_step or (self.is_cured and lr_scale < 1):
            return loss
        match self.what:
            case "pixel":
                state["images"][0, 0, 0, 0] = -1_001.0
            case "rate":
                state["lr"] *= 0.5e-3
            case "loss":
                return 7.0 + 1e-6
        return loss

    def distilled_set(self, state):
        return replace(super().distilled_set(state), learned_lr=float(state["lr"]))


BLOWN = {
    "pixel": (1_001.0, "the largest pixel became 1001 at step 6; it must stay within 1,000"),
    "rate": (5e-6, "the learned learning rate became 5e-06 at step 6; it must stay within 1,000"),
    "loss": (7.0, "the loss became 7 at step 6; that is its value where the set has no gradient"),
}


@pytest.mark.parametrize("what", BLOWN)
def test_what_blows_up_and_stays_finite_fails_as_nan_does(what):
    """One rollback, at half the step size; where that does not help, step and value are told."""
    blown = Blown(what, 5, is_cured=True)
    outcome = distill(blown, n_steps=20)
    assert outcome.n_rollbacks == 1
    assert blown.calls[5:8] == [(5, 1.0), (5, 0.5), (6, 0.5)]
    value, message = BLOWN[what]
    advice = r".* \(after one rollback with half the step size: use a smaller one\)$"
    with pytest.raises(DivergedError, match=message + advice) as caught:
        distill(Blown(what, 5, is_cured=False), n_steps=20)
    assert (caught.value.step, caught.value.value) == (6, pytest.approx(value, rel=1e-5))


def test_the_second_time_it_fails_with_step_and_loss():
    """Half the step size did not help: DivergedError with the step, from 1."""
    with pytest.raises(DivergedError, match="at step 18;") as caught:
        distill(Bowl({17: "always"}), n_steps=30)
    assert (caught.value.step, math.isnan(caught.value.value)) == (18, True)
    with pytest.raises(DivergedError, match="at step 21;"):
        distill(Bowl({3: "once", 20: "always"}), n_steps=30)


def test_the_best_scored_set_is_kept_and_of_equals_the_earlier():
    """Start .9 is never chosen; of .5, .7, .7, .6 the second."""
    outcome = distill(Bowl(), n_steps=40, selection=scores_of([0.9, 0.5, 0.7, 0.7, 0.6]))
    assert outcome.scores == {0: 0.9, 10: 0.5, 20: 0.7, 30: 0.7, 40: 0.6}
    assert (outcome.chosen_step, outcome.n_steps) == (20, 40)
    torch.testing.assert_close(outcome.distilled.images.double(), written_out(20))


def test_patience_ends_it_early(tmp_path):
    """Two evaluations without a better set, and no step more; resumed there it is over too."""
    bowl, kept = Bowl(), []
    selection = replace(scores_of([0.1, 0.5, 0.4, 0.5, 0.9]), patience=2)
    outcome = distill(bowl, n_steps=40, selection=selection, on_checkpoint=kept.append)
    assert (outcome.chosen_step, outcome.n_steps, len(bowl.calls)) == (10, 30, 30)
    write_checkpoint(tmp_path / "c", kept[-1], RECIPE)
    again = distill(
        Bowl(), n_steps=40, selection=selection, resume_from=read_checkpoint(tmp_path / "c", RECIPE)
    )
    assert torch.equal(again.distilled.images, outcome.distilled.images)
    assert again.n_steps == 30


def test_more_evaluations_than_steps_score_each_step_once():
    """Five evaluations of three steps."""
    assert list(distill(Bowl(), n_steps=3, selection=by_size(5)).scores) == [0, 1, 2, 3]


def test_reports_carry_loss_scores_and_the_best():
    """The last score and the best one so far beside the loss; the start's score is never best."""
    reports = []
    distill(
        Bowl(),
        n_steps=4,
        selection=scores_of([0.9, 0.5, 0.4]),
        on_progress=reports.append,
    )
    by_step = {report.step: dict(report.values) for report in reports}
    assert by_step[0] == {"validation_accuracy": 0.9}
    assert by_step[1].keys() == {"loss", "validation_accuracy"}
    assert (by_step[2]["validation_accuracy"], by_step[2]["best"]) == (0.5, 0.5)
    assert (by_step[4]["validation_accuracy"], by_step[4]["best"]) == (0.4, 0.5)


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


def test_the_time_left_counts_steps_and_evaluations_apart(monkeypatch):
    """Steps of 1 s, evaluations of 10 s: the estimate is right after each step."""
    clock, reports = Clock(), []
    monkeypatch.setattr("ddcal_core.distillation.loop.time", clock)

    class Slow(Bowl):
        def step(self, state, step, *, lr_scale):
            clock.now += 1
            return super().step(state, step, lr_scale=lr_scale)

    def score(_made, tick):
        clock.now += 10
        tick()
        return 0.5

    distill(Slow(), n_steps=8, selection=Selection(score, 2), on_progress=reports.append)
    first = {}
    for report in reports:
        first.setdefault(report.step, report.seconds_left)
    # After step 4 and 8 an evaluation is due.
    assert first == {0: None, **{k: 8 - k + (20 if k <= 4 else 10) for k in range(1, 9)}}
    assert reports[-1].seconds_left == 0


def test_an_evaluation_can_be_stopped():
    """What the score calls now and then reaches the caller, who may stop."""
    selection = Selection(lambda _made, tick: tick() or 0.5, 1)

    def stop(_report):
        raise StoppedError

    with pytest.raises(StoppedError):
        distill(Bowl(), n_steps=3, selection=selection, on_progress=stop)


def full_checkpoint():
    """A checkpoint with something in each field."""
    return Checkpoint(
        step=7,
        state={"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(3, dtype=torch.int64)},
        n_rollbacks=1,
        scores={0: 0.25, 7: 0.1, 4: 1 / 3},
        best_step=4,
        best_state={"a": torch.ones(3, 2), "b": torch.tensor(2)},
        seconds=1.5,
        evaluation_seconds=0.5,
    )


@pytest.mark.parametrize("best_step", [None, 4, 7])
def test_a_checkpoint_comes_back_as_it_was(tmp_path, best_step):
    """Every tensor bit for bit and every number; the best state may be the present one, or none."""
    written = full_checkpoint()
    if best_step != 4:
        best = written.state if best_step else None
        written = replace(written, best_step=best_step, best_state=best)
    write_checkpoint(tmp_path / "c", written, RECIPE)
    read = read_checkpoint(tmp_path / "c", RECIPE)
    for name in ("state", "best_state"):
        wanted, got = getattr(written, name), getattr(read, name)
        assert (wanted is None) == (got is None)
        for key in wanted or ():
            assert got[key].dtype == wanted[key].dtype
            assert torch.equal(got[key], wanted[key])
    for name in ("step", "n_rollbacks", "scores", "best_step", "seconds", "evaluation_seconds"):
        assert getattr(read, name) == getattr(written, name)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_writer_that_dies_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    """Death between writing and renaming: what is read is the one before."""
    path = tmp_path / "c"
    write_checkpoint(path, full_checkpoint(), RECIPE)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("died")))
    with pytest.raises(OSError, match="died"):
        write_checkpoint(path, replace(full_checkpoint(), step=8), RECIPE)
    assert read_checkpoint(path, RECIPE).step == 7


def test_what_is_no_checkpoint_of_the_run_is_refused(tmp_path):
    """Cut short at any length, of another recipe, another file altogether."""
    path, short = tmp_path / "c", tmp_path / "short"
    write_checkpoint(path, full_checkpoint(), RECIPE)
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) - 1):
        short.write_bytes(whole[:length])
        with pytest.raises(InvalidDataError, match="in short; got"):
            read_checkpoint(short, RECIPE)
    with pytest.raises(InvalidDataError, match="recipe beef in c; got one of 5e1f"):
        read_checkpoint(path, "beef")


def test_a_byte_changed_anywhere_is_refused(tmp_path):
    """In the header's length, its record, the digest itself, a tensor: one bit, at every place."""
    path = tmp_path / "c"
    write_checkpoint(path, full_checkpoint(), RECIPE)
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(InvalidDataError, match="damaged"):
            read_checkpoint(path, RECIPE)
    path.write_bytes(whole)
    assert read_checkpoint(path, RECIPE).step == 7


def test_a_checkpoint_of_an_earlier_format_is_refused_in_words(tmp_path):
    """Those without a digest of their own are not gone on from."""
    record = {"format": "ddcal checkpoint 1", "recipe": RECIPE, "step": 7}
    save_file({"state/a": torch.zeros(1)}, tmp_path / "c", {"checkpoint": json.dumps(record)})
    with pytest.raises(InvalidDataError, match=r"wanted 'ddcal checkpoint 2' .* earlier version"):
        read_checkpoint(tmp_path / "c", RECIPE)
