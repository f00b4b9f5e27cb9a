import hashlib
import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ddcal_core.distillation.experts import (
    ExpertTraining,
    network_record,
    open_experts,
    record_experts,
)
from ddcal_core.errors import DivergedError, InvalidDataError, StoppedError
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.training.augmentation import augment_each
from tests.core.distillation.trajectories import (
    FACTS,
    SEED,
    expert_spec_of,
    real_data,
    recorded,
    training_of,
)

ALL = ("color", "crop", "cutout", "flip", "scale", "rotate")


def slow_expert(spec, expert):
    """One expert by SGD written out on a module, its parameters copied after each epoch."""
    images, labels = real_data()
    network = build_network(spec, FACTS, seeded_generator(SEED, "experts", "network", expert))
    speeds = [torch.zeros_like(p) for p in network.parameters()]
    rows = [torch.cat([p.detach().flatten() for p in network.parameters()])]
    for epoch in range(spec.epochs):
        generator = seeded_generator(SEED, "experts", "epoch", expert, epoch)
        order = torch.randperm(len(images), generator=generator)[: spec.images_per_epoch]
        for start in range(0, len(order), spec.batch_size):
            batch = order[start : start + spec.batch_size]
            seen = augment_each(images[batch], spec.augmentation, generator, align_corners=True)
            chosen = network(seen).log_softmax(1)[torch.arange(len(batch)), labels[batch]]
            gradients = torch.autograd.grad(-chosen.mean(), list(network.parameters()))
            with torch.no_grad():
                for p, speed, gradient in zip(network.parameters(), speeds, gradients, strict=True):
                    speed.mul_(spec.momentum).add_(gradient)
                    p.sub_(spec.lr * speed)
        rows.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    return torch.stack(rows)


@pytest.mark.parametrize("augmentation", [(), ALL])
@pytest.mark.parametrize("images_per_epoch", [None, 20, 1_000])
def test_snapshots_are_those_of_the_written_out_training(tmp_path, augmentation, images_per_epoch):
    """Before training and after each epoch of each expert, read back from the file."""
    spec = expert_spec_of(
        augmentation=augmentation, images_per_epoch=images_per_epoch, momentum=0.5
    )
    experts = recorded(tmp_path / "experts", spec)
    assert (experts.n_experts, experts.n_epochs) == (2, 3)
    for expert in range(2):
        wanted = slow_expert(spec, expert)
        for epoch in range(4):
            got = experts.snapshot(expert, epoch)
            torch.testing.assert_close(got, wanted[epoch], rtol=1e-4, atol=1e-5)


def test_snapshots_differ_from_one_another(tmp_path):
    """No snapshot is another one that training went on to change: all eight are different."""
    recorded(tmp_path / "experts", expert_spec_of())
    rows = load_file(tmp_path / "experts")["snapshots"].flatten(0, 1)
    distances = torch.cdist(rows, rows) + torch.eye(8)
    assert float(distances.min()) > 0.01


def test_the_file_is_one_that_safetensors_reads(tmp_path):
    """Snapshots (experts, snapshots, parameters), float32, their digests, and the record."""
    spec = expert_spec_of(n_experts=3, epochs=2)
    written = recorded(tmp_path / "experts", spec, record={"split": {"seed": 7}}).record
    tensors = load_file(tmp_path / "experts")
    assert {name: value.dtype for name, value in tensors.items()} == {
        "digests": torch.uint8,
        "snapshots": torch.float32,
    }
    network = build_network(spec, FACTS, seeded_generator(0))
    n_parameters = sum(p.numel() for p in network.parameters())
    assert tensors["snapshots"].shape == (3, 3, n_parameters)
    assert tensors["digests"].shape == (3, 32)
    with safe_open(tmp_path / "experts", "pt") as file:
        assert json.loads(file.metadata()["experts"]) == written
    assert written["experts"] == spec.model_dump(mode="json")
    assert written["split"] == {"seed": 7}
    assert written["network"] == {"name": "convnet", "width": 4, "depth": 2}


def test_equal_seeds_give_equal_bytes(tmp_path):
    """The same seed gives the same file, another one another, and no global draw is made."""
    before = torch.get_rng_state()
    for name, seed in [("first", 1), ("again", 1), ("other", 2)]:
        recorded(tmp_path / name, expert_spec_of(augmentation=ALL), seed=seed)
    first, again, other = ((tmp_path / n).read_bytes() for n in ("first", "again", "other"))
    assert first == again
    assert first != other
    assert torch.equal(torch.get_rng_state(), before)


def test_experts_do_not_hang_on_how_many_there_are(tmp_path):
    """The first two of three are the two of two."""
    two = recorded(tmp_path / "two", expert_spec_of())
    three = recorded(tmp_path / "three", expert_spec_of(n_experts=3))
    assert torch.equal(two.snapshot(1, 3), three.snapshot(1, 3))


@pytest.mark.parametrize(
    ("spec", "facts", "split", "place"),
    [
        ({"width": 5}, {}, 0, r"network\.width 5; got 4"),
        ({"depth": 1}, {}, 0, r"network\.depth 1; got 2"),
        ({}, {"mean": (0.5, 0.4)}, 0, r"facts\.mean \[0\.5, 0\.4\]; got \[0\.5, 0\.5\]"),
        ({}, {"train_class_counts": (12, 9, 11)}, 0, r"facts\.train_class_counts \[12, 9, 11\]"),
        ({}, {}, 1, r"split\.seed 1; got 0"),
    ],
)
def test_experts_of_something_else_are_refused(tmp_path, spec, facts, split, place):
    """Another network, data set or split is told by place, wanted and got."""
    made = expert_spec_of()
    recorded(tmp_path / "x", made, record={"split": {"seed": 0}})
    wanted = network_record(expert_spec_of(**spec), FACTS.model_copy(update=facts))
    with pytest.raises(InvalidDataError, match=f"wanted experts with {place}"):
        open_experts(tmp_path / "x", {**wanted, "split": {"seed": split}})
    assert open_experts(tmp_path / "x", network_record(made, FACTS)).n_experts == 2


def test_a_broken_file_is_refused(tmp_path):
    """Cut short, or some other safetensors file."""
    path = tmp_path / "experts"
    recorded(path, expert_spec_of())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InvalidDataError, match="wanted experts in experts; got"):
        open_experts(path, {})
    save_file({"snapshots": torch.zeros(1, 2, 3)}, path)
    with pytest.raises(InvalidDataError, match="wanted 'ddcal experts 1' in experts; got 'none'"):
        open_experts(path, {})


def test_progress_is_told_after_every_epoch():
    """Steps 1 to 6 of 6 with a finite loss each; stopping comes through."""
    reports = []
    training = training_of(expert_spec_of())
    assert len(list(training.trajectories(on_progress=reports.append))) == 2
    assert [(r.phase, r.step, r.steps) for r in reports] == [
        ("experts", step, 6) for step in range(1, 7)
    ]
    assert all(math.isfinite(r.values["loss"]) for r in reports)

    def stop(_report):
        raise StoppedError

    with pytest.raises(StoppedError):
        list(training.trajectories(on_progress=stop))


@pytest.mark.parametrize("n_reports", [1, 4, 5])
@pytest.mark.parametrize("n_torn", [0, 5])
def test_a_run_that_was_stopped_goes_on(tmp_path, n_reports, n_torn):
    """Stopped within the first or second expert, torn or not: the file of a run left alone."""
    spec = expert_spec_of(n_experts=3)
    recorded(tmp_path / "whole", spec)
    reports, path = [], tmp_path / "stopped"

    def stop(report):
        reports.append(report)
        if len(reports) == n_reports:
            raise StoppedError

    with pytest.raises(StoppedError):
        record_experts(path, training_of(spec), {}, on_progress=stop)
    path.write_bytes(path.read_bytes() + b"x" * n_torn)
    again = []
    record_experts(path, training_of(spec), {}, on_progress=again.append)
    assert again[0].step == 1 + n_reports // 3 * 3
    assert path.read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(
    ("tensor", "place", "first_step"),
    [("snapshots", -1, 4), ("snapshots", 0, 1), ("digests", 40, 4), ("digests", 0, 1)],
)
def test_a_damaged_expert_is_trained_anew(tmp_path, tensor, place, first_step):
    """A bit flipped in an expert that was whole: it goes on before it, to the same bytes."""
    spec = expert_spec_of(n_experts=3)
    recorded(tmp_path / "whole", spec)
    path = tmp_path / "stopped"

    def stop(report):
        if report.step == 7:
            raise StoppedError

    with pytest.raises(StoppedError):
        record_experts(path, training_of(spec), {}, on_progress=stop)
    content = bytearray(path.read_bytes())
    n_header = int.from_bytes(content[:8], "little")
    start = json.loads(content[8 : 8 + n_header])[tensor]["data_offsets"][0]
    content[place if place < 0 else 8 + n_header + start + place] ^= 1
    path.write_bytes(content)
    again = []
    record_experts(path, training_of(spec), {}, on_progress=again.append)
    assert again[0].step == first_step
    assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def test_each_expert_has_its_digest(tmp_path):
    """As hashlib says of the bytes of its snapshots."""
    experts = recorded(tmp_path / "x", expert_spec_of())
    digests = load_file(tmp_path / "x")["digests"]
    for expert, digest in enumerate(digests):
        snapshots = torch.stack([experts.snapshot(expert, k) for k in range(experts.n_epochs + 1)])
        assert bytes(digest.tolist()) == hashlib.sha256(snapshots.numpy().tobytes()).digest()


def test_a_file_of_another_recipe_is_not_gone_on_with(tmp_path):
    """Another seed begins from the first expert and leaves nothing of the other behind."""
    spec = expert_spec_of()
    recorded(tmp_path / "x", expert_spec_of(n_experts=5), seed=1)
    recorded(tmp_path / "x", spec, seed=2)
    recorded(tmp_path / "fresh", spec, seed=2)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "fresh").read_bytes()


def test_numbers_that_are_not_finite_are_told_as_divergence(tmp_path):
    """A broken real image ends it in the first epoch that sees it."""
    images, labels = real_data()
    images[0] = math.inf
    training = ExpertTraining(images, labels, expert_spec_of(), FACTS, 0)
    with pytest.raises(DivergedError) as caught:
        record_experts(tmp_path / "x", training, {})
    assert caught.value.step == 1


def test_an_expert_that_its_only_step_blows_up_is_told(tmp_path):
    """Finite, and never seen by the loss of an epoch."""
    images, labels = real_data()
    spec = expert_spec_of(epochs=1, lr=100.0, images_per_epoch=None, batch_size=len(images))
    training = ExpertTraining(300 * images, labels, spec, FACTS, 0)
    with pytest.raises(DivergedError, match=r"the training loss became .* at step 1; guessing"):
        record_experts(tmp_path / "x", training, {})


def test_experts_without_images_are_refused():
    """At least one real image is wanted."""
    images, labels = real_data()
    with pytest.raises(InvalidDataError, match="wanted real images to train experts on"):
        ExpertTraining(images[:0], labels[:0], expert_spec_of(), FACTS, 0)
