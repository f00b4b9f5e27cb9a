import pytest
from pydantic import ValidationError

from app.api.http.request_bodies import validated
from app.shared.errors import InvalidRequestError
from app.submission.requests import DistillRequest
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.specs.distillation import METHODS
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.kinds.pipeline import PipelineParams
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.methods.method import PRESETS_VERSION

CALIBRATE = [{"method": "none"}]


def resolved(dataset="cifar10", **distill):
    """The spec of a distill job as it would be stored."""
    experts = {"experts": "exp_" + "0" * 26} if distill.get("method") == "mtt" else {}
    params = {"dataset": dataset, "distill": distill, **experts}
    return DistillParams.model_validate(params).distill


@pytest.mark.parametrize(
    ("size", "outer", "inner"),
    [(1, 1, 1), (10, 10, 50), (20, 20, 25), (30, 30, 20), (40, 40, 15), (50, 50, 10)],
)
def test_published_dc_is_the_published_table(size, outer, inner):
    """Loops by images per class, and the code's own defaults."""
    spec = resolved(method="dc", preset="published", images_per_class=size)
    assert (spec.outer_loops, spec.inner_epochs) == (outer, inner)
    got = (spec.iterations, spec.batch_real, spec.lr, spec.momentum, spec.lr_network, spec.width)
    assert got == (1000, 256, 0.1, 0.5, 0.01, 128)
    assert (spec.init, spec.augmentation) == ("noise", ())


def test_published_dsa_and_dm():
    """Real images at the start and augmentation, of digits without the flip; DM's larger steps."""
    dsa = resolved("svhn", method="dsa", preset="published", images_per_class=10)
    assert dsa.init == "real"
    assert dsa.augmentation == ("color", "crop", "cutout", "scale", "rotate")
    dm = resolved(preset="published", images_per_class=50)
    assert (dm.iterations, dm.lr, dm.width, len(dm.augmentation)) == (20_000, 1.0, 128, 6)
    assert resolved(preset="published", images_per_class=500).lr == 10.0


def test_what_is_given_wins():
    """A number equal to the spec's own default too; the rest is the preset's."""
    spec = resolved(method="dc", preset="published", lr=0.3, width=32)
    assert (spec.lr, spec.width, spec.iterations) == (0.3, 32, 1000)


def test_smoke_is_the_default_and_takes_any_data_set():
    """Without a word of presets, for an upload of any name and size, in pipelines too."""
    spec = resolved("mine", method="dsa", images_per_class=7)
    assert (spec.preset, spec.width) == ("smoke", 32)
    params = {"dataset": "mine", "calibrate": CALIBRATE}
    pipeline = PipelineParams.model_validate(params)
    assert pipeline.distill == DistillParams(dataset="mine").distill
    assert pipeline.distill.model_fields_set == set(DmSpec.model_fields) - {"published_for"}
    assert (
        resolved("mnist", method="dsa").augmentation == resolved("svhn", method="dsa").augmentation
    )
    assert "flip" in resolved("mine", method="dsa").augmentation


def test_an_older_version_of_the_table_can_be_asked_for():
    """The smoke presets of version 2 take larger steps where there is more than one image."""
    for method, size, lrs in (
        ("dc", 10, (0.1, 1.0)),
        ("rtp", 10, (1.0, 10.0)),
        ("dc", 1, (0.1, 0.1)),
    ):
        versions = [
            resolved(method=method, images_per_class=size, preset_version=version)
            for version in (1, 2)
        ]
        assert tuple(spec.lr for spec in versions) == lrs
        assert [spec.preset_version for spec in versions] == [1, 2]
        published = [
            resolved(method=method, preset="published", preset_version=version)
            for version in (1, 2)
        ]
        assert published[0].lr == published[1].lr


def test_what_is_stored_is_final():
    """Stored params are read back as they are, whatever the table says then."""
    stored = DistillParams.model_validate(
        {"dataset": "cifar10", "distill": {"method": "dc", "preset": "published"}}
    ).model_dump(mode="json")
    assert stored["distill"]["preset_version"] == PRESETS_VERSION
    stored["distill"]["outer_loops"] = 3
    stored["dataset"] = "renamed"
    assert DistillParams.model_validate(stored).model_dump(mode="json") == stored


@pytest.mark.parametrize(
    ("dataset", "size"), [("mine", 10), ("digits", 1), ("cifar10", 7), ("mnist", 100)]
)
@pytest.mark.parametrize("method", ["dm", "dc", "dsa"])
def test_what_was_not_published_is_refused_in_words(method, dataset, size):
    """Names what there is, at the field."""
    distill = {"method": method, "preset": "published", "images_per_class": size}
    body = {"kind": "distill", "params": {"dataset": dataset, "distill": distill}}
    with pytest.raises(InvalidRequestError) as caught:
        validated(DistillRequest, body)
    (problem,) = caught.value.problems
    assert problem.pointer == "/params/distill"
    assert f"that {method} reports: " in problem.detail
    assert "cifar10 1, 10, " in problem.detail
    assert f"got {dataset} with {size}. published_for" in problem.detail


def test_an_unknown_preset_is_refused():
    """Only smoke and published."""
    with pytest.raises(ValidationError, match="'smoke' or 'published'"):
        resolved(preset="best")


def test_a_data_set_of_another_name_can_take_a_papers_numbers():
    """The same as under the name of the paper, but for the note of whose they are."""
    own = resolved("fashion_mnist", method="dc", preset="published", images_per_class=1)
    mine = resolved(
        "mine", method="dc", preset="published", images_per_class=1, published_for="fashion_mnist"
    )
    assert mine.model_dump() == {**own.model_dump(), "published_for": "fashion_mnist"}
    assert "published_for" not in own.model_dump()


def test_published_for_goes_with_published_alone():
    """Nothing is taken from the papers otherwise."""
    with pytest.raises(ValidationError, match="published_for: wanted it with preset published"):
        resolved("mine", method="dc", published_for="mnist")


@pytest.mark.parametrize("method", METHODS)
def test_each_row_is_a_spec(method):
    """Every published row and the smoke of every data set and size can be asked for."""
    published = METHODS[method].published()
    for dataset, size in published:
        assert dataset in NAMED_DATASETS
        given = {"method": method, "preset": "published", "images_per_class": size}
        spec = resolved(dataset, **given).model_dump()
        assert {**spec, **published[dataset, size]} == spec
    for dataset in (*NAMED_DATASETS, "mine"):
        for size in (1, 2, 10, 50, 1000):
            spec = resolved(dataset, method=method, images_per_class=size).model_dump()
            smoke = METHODS[method].smoke(dataset, size, version=PRESETS_VERSION)
            assert {**spec, **smoke} == spec


def test_mtt_reads_no_epoch_that_experts_cannot_have():
    """Told at submission, not when the experts of a pipeline are made up."""
    assert (
        resolved("mine", method="mtt", max_start_epoch=999, expert_epochs=2).last_epoch_read == 1000
    )
    with pytest.raises(ValidationError, match="wanted at most 1,000"):
        resolved("mine", method="mtt", max_start_epoch=1000, expert_epochs=2)
