"""What sets results apart: the params that led to each, as paths, where they differ."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.shared.errors import NotFoundError
from app.shared.store.catalog import Result, find_result
from app.shared.store.database import Connection
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job
from app.shared.store.kinds import RESOURCES
from ddcal_core.specs.decision_rules import SettingScalar, SettingValue, setting_key
from ddcal_core.specs.kinds.compare import MOST_SETTINGS, Settings
from ddcal_core.specs.results import Resource

_SCALARS = (str, int, float, bool, type(None))
# Of a job's params: what a pipeline's have under the same path, and no reference.
_OF_DATA = ("dataset", "n_validation", "classes", "imbalance", "input_space")
_TAKEN: Mapping[str, tuple[str, ...]] = {
    "evaluate": ("evaluate",),
    "calibrate": ("logits", "calibrate", "evaluate"),
    "train": (*_OF_DATA, "train"),
    "distill": (*_OF_DATA, "distill"),
    "experts": ("experts",),
}
_RESOURCE_OF: Mapping[str, Resource] = {facts.prefix: name for name, facts in RESOURCES.items()}


def settings_of(connection: Connection, owner_id: str, report: Result) -> Settings:
    """Give the params of a report's pipeline as paths; without one, of the jobs that led to it.

    Where jobs of a report differ, as two train jobs may, a path has the list of their values.
    """
    job = find_job(connection, owner_id, report.job_id)
    above = job
    while above.parent_id is not None:
        above = find_job(connection, owner_id, above.parent_id)
        if above.kind == "pipeline":
            return dict(flattened(above.params))
    return _of_jobs(list(_led_to(connection, owner_id, job)))


def flattened(params: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, SettingValue]]:
    """Give each value under its path: names, and places in lists of objects, joined by dots."""
    for name, value in params.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from flattened(value, f"{path}.")
        elif isinstance(value, list) and not all(isinstance(one, _SCALARS) for one in value):
            yield from flattened({str(k): one for k, one in enumerate(value)}, f"{path}.")
        else:
            yield path, value


def differing(settings: Sequence[Settings]) -> list[Settings]:
    """Give of each result the settings in which not all are equal; null where it has none."""
    paths = dict.fromkeys(path for one in settings for path in one)
    apart = [path for path in paths if len({setting_key(one.get(path)) for one in settings}) > 1]
    return [{path: one.get(path) for path in apart[:MOST_SETTINGS]} for one in settings]


def _led_to(connection: Connection, owner_id: str, job: Job) -> Iterator[Job]:
    """A job, then those that made what it reads, each once; what has been deleted is passed by."""
    waiting, seen = [job], {job.id}
    while waiting:
        one = waiting.pop(0)
        yield one
        for reference in _references(one.params):
            maker = _maker(connection, owner_id, reference)
            if maker is not None and maker.id not in seen:
                seen.add(maker.id)
                waiting.append(maker)


def _references(params: Mapping[str, Any]) -> Iterator[str]:
    yield from params.get("calibrations", ())
    yield from params.get("models", ())
    source = params.get("training_set") or {}
    if "distilled_set" in source:
        yield source["distilled_set"]
    if isinstance(params.get("experts"), str):
        yield params["experts"]


def _maker(connection: Connection, owner_id: str, reference: str) -> Job | None:
    try:
        resource = _RESOURCE_OF.get(reference.partition("_")[0])
        if resource is not None:
            reference = find_result(connection, owner_id, resource, reference).job_id
        return find_job(connection, owner_id, reference)
    except NotFoundError:
        return None


def _of_jobs(jobs: Sequence[Job]) -> Settings:
    found: dict[str, dict[object, SettingValue]] = {}
    for job in jobs:
        taken = {name: job.params[name] for name in _TAKEN.get(job.kind, ()) if name in job.params}
        taken = {name: value for name, value in taken.items() if not _is_reference(name, value)}
        for path, value in flattened(taken):
            if value is not None:
                found.setdefault(path, {})[setting_key(value)] = value
    settings = {path: _one_or_all(list(values.values())) for path, values in found.items()}
    # The seed of the set, where there is one: it is what a pipeline hands to all its jobs.
    for kind in ("distill", "train", "calibrate"):
        of_kind = [job.params for job in jobs if job.kind == kind]
        seeds = sorted({params["seed"] for params in of_kind if "seed" in params})
        if seeds:
            return {**settings, "seed": _one_or_all(seeds)}
    return settings


def _is_reference(name: str, value: object) -> bool:
    return name == "experts" and not isinstance(value, Mapping)


def _one_or_all(values: Sequence[SettingValue]) -> SettingValue:
    if len(values) == 1:
        return values[0]
    flat: list[SettingScalar] = []
    for value in values:
        flat += value if isinstance(value, list) else [value]
    return flat
