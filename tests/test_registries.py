"""Every registry is complete: who adds a member is told of each place that has to know it."""

import re
from pathlib import Path
from typing import get_args

import pytest

from app.__main__ import PARTS
from app.shared.store import descriptions, tables
from app.shared.store.catalog import TABLES
from app.shared.store.job_states import JOB_STATES, TERMINAL_STATES
from app.shared.store.kinds import (
    ATOMIC_KINDS,
    COMPARE,
    COMPOSITE_KINDS,
    EXPORT,
    IMPORTS,
    INTAKE,
    KINDS,
    MAKERS,
    QUEUES,
    RESOURCES,
    Kind,
    Queue,
    Resource,
)
from app.submission.examples import EXAMPLES, EXAMPLES_ON_UPLOADS
from app.submission.requests import JOB_REQUESTS
from ddcal import records
from ddcal.cli import data as cli_data
from ddcal.cli import distil as cli_distil
from ddcal.cli import downloading as cli_downloading
from ddcal.cli import jobs as cli_jobs
from ddcal.cli import networks as cli_networks
from ddcal.cli import sets as cli_sets
from ddcal.cli.main import app
from ddcal.cli.programs import NEEDS
from ddcal.jobs import REQUEST_FIELDS
from ddcal_core.specs import exports, fields, foreign_networks, logits, uploads
from ddcal_core.specs.calibration import CALIBRATIONS
from ddcal_core.specs.distillation import METHODS
from ddcal_core.specs.kinds.calibrate_logits import CalibrateLogitsParams
from ddcal_core.specs.kinds.pipeline import BASELINES
from ddcal_core.specs.networks import NETWORK_OPTIONS, NetworkName
from ddcal_core.specs.training import LOSSES, TRAINING_SETS

EXAMPLE_PARAMS = [one["value"]["params"] for one in {**EXAMPLES, **EXAMPLES_ON_UPLOADS}.values()]


# No example of it could work where it is pasted: it names results by their ids.
NAMES_RESULTS = {"evaluate"}


def words_under(node, name):
    """The values of a field, wherever in a JSON document."""
    if isinstance(node, dict):
        own = {node[name]} if isinstance(node.get(name), str) else set()
        return own.union(*(words_under(value, name) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(words_under(item, name) for item in node))
    return set()


def words_of(field):
    """Those that an optional field may be."""
    literal, _ = get_args(get_args(field)[0])
    return get_args(literal)


def test_every_kind_has_its_facts():
    """Each either runs in a queue there is, or owns jobs that do."""
    assert set(KINDS) == set(get_args(Kind))
    assert {facts.queue for facts in KINDS.values()} == {*get_args(Queue), None}
    assert get_args(Queue) == QUEUES
    assert set(ATOMIC_KINDS).isdisjoint(COMPOSITE_KINDS)


def test_every_kind_that_users_ask_for_can_be_asked_for():
    """By a request of its own, with an example."""
    asked = {kind for kind, facts in KINDS.items() if facts.is_submitted}
    assert set(JOB_REQUESTS) == asked == set(KINDS) - {INTAKE, EXPORT, COMPARE}
    for kind, request in JOB_REQUESTS.items():
        assert get_args(request.model_fields["kind"].annotation) == (kind,)
    shown = {one["value"]["kind"] for one in {**EXAMPLES, **EXAMPLES_ON_UPLOADS}.values()}
    assert shown == asked - NAMES_RESULTS


def test_every_result_has_its_place():
    """A maker, a table, ids that references know, and an address that the client knows."""
    assert set(RESOURCES) == set(get_args(Resource)) == set(MAKERS) == set(TABLES)
    assert len({facts.prefix for facts in RESOURCES.values()}) == len(RESOURCES)
    assert {name: facts.collection for name, facts in RESOURCES.items()} == records.RESOURCES
    assert {facts.prefix: name for name, facts in RESOURCES.items()} == records.RESULT_PREFIXES
    assert {maker: name for name, maker in MAKERS.items()} == records.MAKERS
    assert dict(IMPORTS) == records.IMPORTS
    assert {*tables.DATASET_CONTENTS, *IMPORTS} == set(get_args(uploads.UploadContent))


@pytest.mark.parametrize(
    ("resource", "pattern"),
    [
        ("expert_set", fields.EXPERTS_REFERENCE),
        ("distilled_set", fields.SET_REFERENCE),
        ("model", fields.MODEL_REFERENCE),
        ("calibration", fields.CALIBRATION_REFERENCE),
    ],
)
def test_references_are_ids_of_results_or_of_their_jobs(resource, pattern):
    """The core writes the prefixes down on its own: it knows no database."""
    ending = "_" + "0" * 26
    assert re.match(pattern, RESOURCES[resource].prefix + ending)
    assert re.match(pattern, "job" + ending)
    others = [facts.prefix for name, facts in RESOURCES.items() if name != resource]
    assert not [prefix for prefix in others if re.match(pattern, prefix + ending)]


def test_the_client_knows_the_fields_of_a_request():
    """By them it tells what is of the request from what is of its params."""
    fields = {name for one in JOB_REQUESTS.values() for name in one.model_fields}
    schemas = [one.model_fields["params"].annotation for one in JOB_REQUESTS.values()]
    # Those of calibrate are a union.
    models = [model for schema in schemas for model in (get_args(schema) or (schema,))]
    params = {name for model in models for name in model.model_fields}
    assert fields - {"kind"} <= REQUEST_FIELDS
    assert params.isdisjoint(REQUEST_FIELDS)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (cli_distil.Method, tuple(METHODS)),
        (cli_jobs.State, JOB_STATES),
        (cli_sets.Space, get_args(uploads.DeclaredSpace)),
        (cli_networks.Space, get_args(foreign_networks.NetworkSpace)),
        (cli_networks.Layout, get_args(foreign_networks.Layout)),
        (cli_networks.Outputs, get_args(foreign_networks.Outputs)),
        (cli_data.Colour, words_of(uploads.Colour)),
        (cli_data.Values, words_of(logits.Values)),
        (cli_downloading.Format, get_args(exports.ExportFormat)),
    ],
    ids=[
        *("methods", "states", "spaces", "inputs", "layouts", "outputs", "colours", "values"),
        "formats",
    ],
)
def test_the_command_line_knows_every_word(choice, words):
    """As a choice, so that another word is refused before anything is uploaded."""
    assert {one.value for one in choice} == set(words)


def test_every_part_of_the_service_can_be_started_and_is_a_command():
    """What the command line starts is what `python -P -m app` knows, by the same words."""
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(NEEDS) == set(PARTS)
    assert set(PARTS) <= names


def test_every_state_is_known_to_the_client():
    """It waits for those that end a job."""
    assert set(TERMINAL_STATES) < set(JOB_STATES)
    assert set(TERMINAL_STATES) == records.TERMINAL_STATES
    (check,) = [one for one in tables.jobs.constraints if str(one.name) == "ck_jobs_state"]
    assert all(f"'{state}'" in str(check.sqltext) for state in JOB_STATES)


@pytest.mark.parametrize(
    ("registry", "field"),
    [(METHODS, "method"), (CALIBRATIONS, "method"), (BASELINES, "source"), (LOSSES, "name")],
    ids=["methods", "calibrations", "baselines", "losses"],
)
def test_every_member_has_an_example(registry, field):
    """In the document, one that works when it is pasted."""
    defaults = {"cross_entropy"}
    assert set(registry) - defaults <= words_under(EXAMPLE_PARAMS, field)


def test_every_network_has_its_options():
    """And those alone."""
    assert set(NETWORK_OPTIONS) == set(get_args(NetworkName))


def test_every_format_has_its_facts():
    """A word of its own, a description, a snippet, and a file name that nothing else has."""
    assert set(exports.FORMATS) == set(RESOURCES)
    words = {word for formats in exports.FORMATS.values() for word in formats}
    assert words == set(get_args(exports.ExportFormat))
    for formats in exports.FORMATS.values():
        assert len({facts.file_name for facts in formats.values()}) == len(formats)
        for facts in formats.values():
            assert facts.description.endswith(".")
            assert f'"{facts.file_name}"' in facts.use


def test_every_baseline_is_a_training_set():
    """And every training set but the distilled one can stand beside it."""
    assert set(BASELINES) == set(TRAINING_SETS) - {"distilled"}


def test_calibrations_of_logits_are_those_that_need_no_image():
    """Under the same names."""
    (item,) = get_args(CalibrateLogitsParams.model_fields["calibrate"].annotation)
    union, _ = get_args(item)
    named = {
        word
        for member in get_args(union)
        for word in get_args(member.model_fields["method"].annotation)
    }
    assert named == set(CALIBRATIONS) - {"mts"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_compared_with_its_formula(method):
    """Some test of the core makes its spec."""
    tests = (Path(__file__).parent / "core" / "distillation").glob("test_*.py")
    made = f"{METHODS[method].__name__}("
    assert [path.name for path in tests if made in path.read_text()]


def test_every_result_is_found_by_the_beginning_of_its_id():
    """A search takes it for an id, and not for a word."""
    for facts in RESOURCES.values():
        assert descriptions._ID.fullmatch(f"{facts.prefix}_06h2")
