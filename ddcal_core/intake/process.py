"""A user's upload -> checked tensors and what is known of them (numpy, Pillow; no torch).

Run as a process of its own, `python -m ddcal_core.intake.process`, under the limits its supervisor
sets, speaking the trainer's protocol. Images and logits are decoded a few megabytes at a time, so
memory stays small whatever the file's size; an array in Fortran order, of 1 GiB at most, is held
as a whole.
"""

import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, assert_never

import numpy as np

from ddcal_core.errors import InvalidDataError, StoppedError
from ddcal_core.intake.dataset_intake import take_in
from ddcal_core.intake.job_channel import JobChannel, answer_job, read_job, take_stdout
from ddcal_core.intake.job_messages import (
    JobLine,
    JobOutput,
    Message,
    OutputFile,
    Outputs,
    Problem,
    ProgressReport,
    Ready,
    Rejected,
    Verdict,
)
from ddcal_core.intake.logits_intake import take_in_logits
from ddcal_core.intake.set_intake import TakenSet, take_in_sets
from ddcal_core.progress import Progress
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.logits import LogitsFacts, LogitsOptions
from ddcal_core.specs.uploads import ImageOptions, SetOptions, UploadContent

_LOG = logging.getLogger("ddcal.intake")
_MEDIA_TYPES = {".json": "application/json", ".png": "image/png"}


def _run(job: JobLine, channel: JobChannel) -> Verdict:
    """Take one upload in; give the last word: outputs, or rejected with the problem."""
    started = time.monotonic()
    try:
        outputs = _take_in_by_content(job.inputs, job.work_folder, channel)
    except InvalidDataError as error:
        _LOG.info("rejected: %s", error)
        return Rejected(problem=Problem(code="invalid_data", detail=str(error)))
    _LOG.info(
        "taken in after %.2f s, %.2f s of CPU: %s",
        time.monotonic() - started,
        time.process_time(),
        json.dumps([output.values for output in outputs]),
    )
    return Outputs(outputs=outputs)


def _take_in_by_content(
    inputs: dict[str, Any], folder: Path, channel: JobChannel
) -> tuple[JobOutput, ...]:
    """Take in what the upload is said to hold."""
    upload, max_decoded_bytes = Path(inputs["upload_path"]), int(inputs["max_decoded_bytes"])
    content: UploadContent = inputs.get("content", "images")
    said = inputs.get("options", {})

    def report(progress: Progress) -> None:
        _send_whole(channel, ProgressReport(**vars(progress)))

    match content:
        case "images":
            images = take_in(upload, folder, max_decoded_bytes, ImageOptions(**said), report)
            return (_upload_output(images.facts, images.paths),)
        case "logits":
            logits = take_in_logits(upload, folder, max_decoded_bytes, LogitsOptions(**said))
            return (_upload_output(logits.facts, logits.paths),)
        case "distilled_sets":
            sets = take_in_sets(
                upload,
                folder,
                max_decoded_bytes,
                facts=DatasetFacts.model_validate(inputs["facts"], strict=False),
                options=SetOptions.model_validate(said, strict=False),
                sha256=inputs["sha256"],
            )
            return tuple(_set_output(one, inputs["name"], len(sets)) for one in sets)
        case "network":
            raise ValueError("wanted an upload of data or sets; networks are tried by trainers")
        case _:
            assert_never(content)


def _upload_output(facts: DatasetFacts | LogitsFacts, paths: tuple[Path, ...]) -> JobOutput:
    values = {"facts": facts.model_dump(mode="json")}
    return JobOutput(resource="dataset", key="dataset", values=values, files=_files(paths))


def _set_output(taken: TakenSet, name: str, n_sets: int) -> JobOutput:
    return JobOutput(
        resource="distilled_set",
        key=taken.key,
        name=taken.named(name, n_sets),
        values=taken.manifest.as_json(),
        files=_files(taken.paths),
    )


def _files(paths: tuple[Path, ...]) -> tuple[OutputFile, ...]:
    return tuple(
        OutputFile(
            name=path.name,
            path=path,
            media_type=_MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        )
        for path in paths
    )


class _Stop(BaseException):
    """SIGTERM has come. No Exception: it may come in the middle of a call that catches those.

    logging is one: it swallows whatever goes wrong while a line is written.
    """


def _stop(signal_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal_number, signal.SIG_IGN)
    raise _Stop


def _until_stopped(work: Callable[[], Verdict]) -> Verdict:
    """Do it, unless SIGTERM comes first; one that comes later is not heeded.

    Raises:
        StoppedError: it has come.
    """
    try:
        signal.signal(signal.SIGTERM, _stop)
        try:
            return work()
        finally:
            # The last word goes out whole.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except _Stop:
        raise StoppedError from None


def _send_whole(channel: JobChannel, message: Message) -> None:
    """Send a message that no signal cuts in two: it is heeded right after."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        channel.send(message)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def main() -> int:
    """Speak the protocol: ready, one job line, then outputs, rejected, stopped or failed."""
    channel = take_stdout()
    channel.send(Ready())
    job = read_job(sys.stdin.buffer)
    if job is None:
        return 0

    def work() -> Verdict:
        _LOG.info("intake, numpy %s", np.__version__)
        return _run(job, channel)

    return answer_job(job, channel, lambda: _until_stopped(work))


if __name__ == "__main__":
    sys.exit(main())
