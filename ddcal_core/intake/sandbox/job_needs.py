"""What a job's process may reach: what its job line names, and nothing else."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ddcal_core.intake.job_messages import JobLine
from ddcal_core.intake.sandbox.confinement import Needs

# As tensors a byte of a label takes eight, all else less.
MAX_BYTES_A_DECODED_ONE = 8
_HEADERS_BYTES = 64 << 20


def needs_of(job: JobLine) -> Needs:
    """What a job may read and write, and whether it may fetch a data set.

    A checkpoint may be written with its whole folder, where temporary names of it lie.
    """
    named = [one for one in _mappings_in(job.inputs) if one.get("source") == "named"]
    fetching = [one for one in named if one.get("allow_downloads")]
    decoded = job.inputs.get("max_decoded_bytes")
    writable = [Path(one["named_folder"]) for one in fetching]
    if job.checkpoint is not None:
        writable.append(job.checkpoint.parent)
    if job.snapshots is not None:
        writable.append(job.snapshots)
    for folder in writable:
        folder.mkdir(parents=True, exist_ok=True)
    return Needs(
        folder=job.work_folder,
        readable=(*paths_in(job.inputs), *_folders_of(named)),
        writable=tuple(writable),
        network=bool(fetching),
        max_file_bytes=decoded and int(decoded) * MAX_BYTES_A_DECODED_ONE + _HEADERS_BYTES,
    )


def paths_in(inputs: object) -> Iterator[Path]:
    """Every file that a job's inputs name, under the key "path" or one that ends in "_path"."""
    for one in _mappings_in(inputs):
        for key, value in one.items():
            if isinstance(value, str) and (key == "path" or key.endswith("_path")):
                yield Path(value)


def _folders_of(named: Iterable[Mapping[str, Any]]) -> Iterator[Path]:
    yield from (Path(one["named_folder"]) for one in named if one.get("named_folder"))


def _mappings_in(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _mappings_in(one)
