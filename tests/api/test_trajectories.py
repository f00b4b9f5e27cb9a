"""RTP's budget and MTT's experts at submission, and the presets of both."""

import pytest

from app.submission.expert_checks import own_experts
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.kinds.pipeline import PipelineParams
from tests.api.serving import problem, refusals

NONE = [{"method": "none"}]
IPC = "/params/distill/images_per_class"


def rtp(**changes):
    """Params of a distill job by rtp on digits: 64 numbers an image, 640 for one a class."""
    return {"dataset": "digits", "distill": {"method": "rtp", "depth": 2} | changes}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # 640 numbers: K bases take 16 K, an image of each of ten classes 10 K, softly 10 K + 100.
        ({"images_per_class": 1, "n_bases": 16}, None),
        ({"images_per_class": 1, "n_bases": 24}, None),
        ({"images_per_class": 1, "n_bases": 25}, (IPC, "storage_budget_too_small")),
        ({"images_per_class": 1, "n_bases": 40}, (IPC, "storage_budget_too_small")),
        ({"images_per_class": 1, "labels": "soft", "n_bases": 20}, None),
        (
            {"images_per_class": 1, "labels": "soft", "n_bases": 21},
            (IPC, "storage_budget_too_small"),
        ),
        ({"images_per_class": 1, "n_bases": 40, "form": "pixels"}, None),
        # More images per class than the smallest has: 50 a class hold 190.
        ({"images_per_class": 50, "form": "bases"}, (IPC, "images_per_class_too_large")),
        ({"images_per_class": 50, "form": "bases", "init": "noise"}, None),
        ({"task_classes": 10}, None),
        ({"task_classes": 11}, ("/params/distill/task_classes", "too_many_classes")),
    ],
)
@pytest.mark.parametrize("kind", ["distill", "pipeline"])
def test_budgets_are_checked_at_submission(shared_api, kind, changes, expected):
    """What leaves less than an image a class is refused at the field, the rest is taken."""
    params = rtp(**changes) | ({"calibrate": NONE} if kind == "pipeline" else {})
    answer = shared_api.client.post("/v1/jobs", json={"kind": kind, "params": params})
    if expected is None:
        assert answer.status_code == 202, answer.text
    else:
        assert refusals(answer) == [expected]


def test_a_budget_refused_says_what_it_is_spent_on(shared_api):
    """Bases, their numbers, and the budget's."""
    body = {"kind": "distill", "params": rtp(images_per_class=1, n_bases=40)}
    (error,) = problem(shared_api.client.post("/v1/jobs", json=body), 422)["errors"]
    assert "beside 40 bases of 1 x 4 x 4, which are 640 numbers" in error["detail"]
    assert "got a budget of 640, as many as 1 images per class have" in error["detail"]


def test_published_experts_are_the_published_ones():
    """A pipeline with the preset records 100 of width 128 for the epochs that are read."""
    distill = {"method": "mtt", "preset": "published", "images_per_class": 10}
    params = {"dataset": "cifar10", "distill": distill, "calibrate": NONE}
    experts = own_experts(PipelineParams.model_validate(params))
    got = (experts.n_experts, experts.epochs, experts.width, experts.depth, experts.batch_size)
    assert got == (100, 21, 128, 3, 256)
    assert (experts.lr, experts.momentum, experts.images_per_epoch) == (0.01, 0.0, None)
    assert len(experts.augmentation) == 6
    smoke = params | {"distill": {"method": "mtt", "max_start_epoch": 6, "width": 8}}
    experts = own_experts(PipelineParams.model_validate(smoke))
    assert (experts.n_experts, experts.epochs, experts.width) == (8, 7, 8)


@pytest.mark.parametrize(
    ("dataset", "size", "wanted"),
    [
        ("cifar10", 1, (50, 2, 2, 100, 1e-7, 0.01, None)),
        ("cifar10", 10, (30, 2, 20, 100, 1e-5, 0.001, None)),
        ("cifar10", 50, (30, 2, 40, 1000, 1e-5, 0.001, None)),
        ("cifar100", 1, (20, 3, 20, 1000, 1e-5, 0.01, None)),
        ("cifar100", 10, (20, 2, 20, 1000, 1e-5, 0.01, None)),
        ("cifar100", 50, (80, 2, 40, 1000, 1e-5, 0.01, 125)),
    ],
)
def test_published_mtt_is_the_authors_table(dataset, size, wanted):
    """Steps, epochs, starts, step sizes and batch of each row."""
    distill = {"method": "mtt", "preset": "published", "images_per_class": size}
    params = {"dataset": dataset, "distill": distill, "experts": "exp_" + "0" * 26}
    spec = DistillParams.model_validate(params).distill
    got = (spec.synthetic_steps, spec.expert_epochs, spec.max_start_epoch)
    got += (spec.lr, spec.lr_lr, spec.lr_network, spec.batch_synthetic)
    assert got == wanted
    assert (spec.iterations, spec.width, spec.momentum, spec.init) == (5000, 128, 0.5, "real")


def test_published_rtp_is_that_of_its_readme():
    """150 steps, 16 bases of half the side for one image per class, pixels for ten."""
    distill = {"method": "rtp", "preset": "published", "images_per_class": 1}
    one = DistillParams.model_validate({"dataset": "cifar10", "distill": distill}).distill
    assert (one.form, one.n_bases, one.downscale, one.inner_steps) == ("bases", 16, 2, 150)
    assert (one.batch_per_class, one.lr_network, one.momentum_network) == (32, 0.01, 0.9)
    assert (one.lr, one.clip_norm, one.batch_real, one.init) == (0.1, 2.0, 64, "noise")
    distill = distill | {"images_per_class": 10}
    ten = DistillParams.model_validate({"dataset": "cifar10", "distill": distill}).distill
    assert (ten.form, ten.batch_per_class) == ("pixels", 10)
