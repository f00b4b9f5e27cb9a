"""What a job's process and its supervisor say to each other is read as it was written."""

import json
from pathlib import Path
from typing import get_args

import pytest

from ddcal_core.intake.job_messages import (
    Failed,
    JobError,
    JobLine,
    JobOutput,
    Message,
    Note,
    OutputFile,
    Outputs,
    Problem,
    ProgressReport,
    Ready,
    Rejected,
    Stopped,
    read_message,
)

FILE = OutputFile(name="a.json", path=Path("/w/a.json"), media_type="application/json")
MESSAGES = [
    Ready(device="cpu"),
    Ready(),
    ProgressReport(phase="distill", step=1, steps=3, values={"loss": 0.1}, seconds_left=2.5),
    Note(code="resumed", message="went on", step=7),
    Outputs(
        outputs=(JobOutput(resource="model", key="a", values={"x": [1, None]}, files=(FILE,)),)
    ),
    Rejected(problem=Problem(code="invalid_data", detail="wanted a, got b")),
    Failed(error=JobError(type="nan_loss", message="the loss became nan")),
    Stopped(),
]
LINE = JobLine(
    kind="distill",
    computation="distill",
    job_id="job_a",
    params={"seed": 3},
    inputs={"dataset": {"name": "digits"}},
    work_folder=Path("/w"),
    log_file=Path("/l"),
    threads=2,
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.type)
def test_a_message_is_read_as_it_was_written(message):
    """One line of JSON each."""
    line = message.encoded()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert read_message(line) == message


def test_every_message_is_among_those_tried():
    """One added to the union is tried here as well."""
    assert {type(message) for message in MESSAGES} == set(get_args(Message))


def test_a_job_line_is_read_as_it_was_written():
    """With a checkpoint and without; a shorter one has defaults."""
    resumed = LINE.model_copy(update={"checkpoint": Path("/c"), "recipe": "0f"})
    for line in (LINE, resumed):
        assert JobLine.model_validate_json(line.encoded()) == line


def test_a_message_of_a_later_version_is_no_error():
    """A type or a field not known here is for others."""
    assert read_message(b'{"type": "mood", "is_good": true}') is None
    assert read_message(b'{"type": "stopped", "why": "asked"}') == Stopped()


@pytest.mark.parametrize(
    "line",
    [
        b"what?",
        b"3",
        b"[]",
        b"{}",
        b'{"type": 3}',
        b'{"type": "progress"}',
        b'{"type": "outputs", "outputs": [{"resource": "cake", "values": {}, "files": []}]}',
    ],
)
def test_nonsense_is_refused(line):
    """No JSON, no message, or one that lacks what it has to say."""
    with pytest.raises(ValueError):  # noqa: PT011  whatever it says goes into the log alone
        read_message(line)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_not_sent(number):
    """Neither as a number nor as null, however deep it lies."""
    told = JobOutput(resource="model", values={"a": [{"b": number}]}, files=())
    for line in (Outputs(outputs=(told,)), LINE.model_copy(update={"params": {"x": number}})):
        with pytest.raises(ValueError, match="not JSON compliant"):
            line.encoded()


def test_a_process_without_a_device_says_none():
    """As the check of uploads does."""
    assert json.loads(Ready().encoded()) == {"type": "ready"}
