"""Reports on disk are read back: of version 1 by an upgrade, of a version to come not at all."""

import json

import pytest

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.reports import KnownTrainingSet, UnknownTrainingSet, read_report
from tests.core.formats.stored import FOLDER, in_todays_words, stored, without_versions

NAMES = ("report", "logits_report")


@pytest.mark.parametrize("name", NAMES)
def test_version_1_is_read_and_written_with_every_key_it_had(name):
    """Only the versions are new; what is written is read back as the same report."""
    held = stored(name)
    assert "version" not in held
    found = read_report((FOLDER / f"{name}.json").read_bytes())
    written = json.dumps(found.as_json(), allow_nan=False)
    assert json.loads(written)["version"] == 2
    assert without_versions(json.loads(written)) == in_todays_words(held)
    assert read_report(written) == found


def test_the_training_sets_say_whether_they_are_known():
    """Networks trained here have their configuration, uploaded logits nothing but a label."""
    report, of_logits = (read_report(stored(name)) for name in NAMES)
    first = report.training_sets[0]
    assert isinstance(first, KnownTrainingSet)
    assert (first.train.epochs, first.network.width, first.split.dataset) == (60, 4, "small")
    assert first.distilled.calibration_factor.n_real == 18
    assert report.rows[0].networks[0].bins.edges[-1] == 1
    assert isinstance(of_logits.training_sets[0], UnknownTrainingSet)
    assert (of_logits.measured_on, of_logits.image_shape) == ("test rows", None)


def test_reports_from_before_comparisons_and_analyses_are_read():
    """They have none, their rows no further measures, and their masks were of pixels."""
    held = stored("report")
    for name in ("comparisons", "logit_analysis", "logit_words", "spectrum_analysis"):
        del held[name]
    del held["spectrum_words"], held["mts_curves"][0]["mask"]
    for row in held["rows"]:
        del row["further"], row["optimiser"]
    found = read_report(held)
    assert (found.comparisons, found.logit_analysis, found.spectrum_analysis) == ((), (), ())
    assert (found.logit_words, found.spectrum_words) == (None, None)
    assert (found.rows[0].further, found.rows[0].optimiser) == (None, None)
    assert found.mts_curves[0].mask.unit == "pixel"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [3, 0, "1.0", None])
def test_a_version_not_known_is_refused_in_words(name, version):
    """The message names the version, those that can be read, and what to do."""
    with pytest.raises(InvalidDataError, match=f"this report is of version {version}; .* 1 to 2: "):
        read_report(stored(name) | {"version": version})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"headlines": "x"}, "headlines: Extra inputs are not permitted"),
        ({"rows": [{}]}, r"rows\.0\.training_set: Field required"),
        ({"rows": 3}, "rows: Input should be a valid array"),
        ({"mts_curves": ["x"]}, r"mts_curves\.0: "),
        ({"training_sets": [{"training_set": "x"}]}, r"training_sets\.0: "),
    ],
)
def test_wrong_fields_are_refused_and_named(change, message):
    """Of version 1 as well as of version 2."""
    held = stored("report")
    for fields in (held, read_report(held).as_json()):
        with pytest.raises(InvalidDataError, match=f"wanted a report of version .; got {message}"):
            read_report(fields | change)


@pytest.mark.parametrize("text", ["", "[]", "null", b"\xff", "{"])
def test_what_is_no_report_is_refused_in_words(text):
    """No JSON, or JSON of something else."""
    with pytest.raises(InvalidDataError, match="wanted a report"):
        read_report(text)


def test_a_number_that_is_not_finite_is_refused():
    """JSON has no word for it, and a report no place."""
    held = stored("report")
    held["rows"][0]["ece"]["mean"] = float("nan")
    with pytest.raises(InvalidDataError, match=r"rows\.0\.ece\.mean: "):
        read_report(held)
