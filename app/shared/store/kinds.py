"""What kinds of job there are, where each runs, and what it makes (standard library only).

Every table of kinds or of results elsewhere follows these two, or is checked against them by
tests/test_registries.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ddcal_core.specs.results import Resource
from ddcal_core.specs.uploads import UploadContent

Kind = Literal[
    "intake", "export", "experts", "distill", "train", "calibrate", "evaluate", "compare",
    "pipeline", "study",
]  # fmt: skip
Queue = Literal["gpu", "intake"]

INTAKE: Kind = "intake"
EXPORT: Kind = "export"
COMPARE: Kind = "compare"
GPU_QUEUE: Queue = "gpu"
INTAKE_QUEUE: Queue = "intake"
NO_QUEUE = ""


@dataclass(frozen=True, kw_only=True)
class KindFacts:
    """What the service knows of a kind.

    Attributes:
        queue: whose workers run it; None for a composite kind, which owns jobs and runs nothing.
        makes: what its results are, if it has any.
        is_submitted: whether users submit it; an intake follows from an upload, an export from a
            download, a comparison from what it compares.
        keeps_checkpoint: whether a later attempt goes on where an earlier one was.
        keeps_snapshots: whether it leaves pictures of what it learns on its way.
        is_rare: rare and short: a trainer is started for each instead of waiting for it, and its
            results have no recipe.
        shows_all_jobs: of a composite kind, whether its jobs are few enough to be shown with it.
        may_end_partial: of a composite kind, whether it ends with what its jobs have made, though
            some have failed.
    """

    queue: Queue | None
    makes: Resource | None = None
    is_submitted: bool = True
    keeps_checkpoint: bool = False
    keeps_snapshots: bool = False
    is_rare: bool = False
    shows_all_jobs: bool = True
    may_end_partial: bool = False


KINDS: Mapping[Kind, KindFacts] = {
    "intake": KindFacts(queue=INTAKE_QUEUE, is_submitted=False),
    # Beside the checks of uploads: short, and not to wait behind a distillation.
    "export": KindFacts(queue=INTAKE_QUEUE, is_submitted=False, is_rare=True),
    "experts": KindFacts(queue=GPU_QUEUE, makes="expert_set", keeps_checkpoint=True),
    "distill": KindFacts(
        queue=GPU_QUEUE, makes="distilled_set", keeps_checkpoint=True, keeps_snapshots=True
    ),
    "train": KindFacts(queue=GPU_QUEUE, makes="model"),
    "calibrate": KindFacts(queue=GPU_QUEUE, makes="calibration"),
    "evaluate": KindFacts(queue=GPU_QUEUE, makes="report"),
    # Likewise short: it reads reports.
    "compare": KindFacts(queue=INTAKE_QUEUE, makes="comparison", is_submitted=False, is_rare=True),
    "pipeline": KindFacts(queue=None),
    "study": KindFacts(queue=None, shows_all_jobs=False, may_end_partial=True),
}
"""Every kind, in the order in which the jobs of a pipeline are shown."""

RARE_KINDS = tuple(kind for kind, facts in KINDS.items() if facts.is_rare)
QUEUES: tuple[Queue, ...] = (GPU_QUEUE, INTAKE_QUEUE)
ATOMIC_KINDS = tuple(kind for kind, facts in KINDS.items() if facts.queue is not None)
"""What a worker of this version can run."""
COMPOSITE_KINDS = tuple(kind for kind, facts in KINDS.items() if facts.queue is None)
"""Jobs that own other jobs; the reconciler alone sets their state."""
MAKERS: Mapping[Resource, Kind] = {
    facts.makes: kind for kind, facts in KINDS.items() if facts.makes is not None
}


IMPORTS: Mapping[UploadContent, Resource] = {
    "distilled_sets": "distilled_set",
    "network": "model",
}
"""The uploads whose check makes results, and what these are."""


def import_computation(content: UploadContent, options: Mapping[str, object]) -> str | None:
    """What trainers compute to take an upload in; None where reading it is enough.

    Reading takes a process that starts at once and loads no torch. A network is tried on images,
    and whitened sets without their matrix have it fitted.
    """
    if content == "network":
        return "import_network"
    return "import_whitened_sets" if options.get("zca_eps") is not None else None


def queue_of_upload(content: UploadContent, options: Mapping[str, object]) -> Queue:
    """Whose workers check an upload."""
    return INTAKE_QUEUE if import_computation(content, options) is None else GPU_QUEUE


@dataclass(frozen=True, kw_only=True)
class ResourceFacts:
    """How a result is named.

    Attributes:
        prefix: of its ids.
        collection: the last part of its collection's URL.
    """

    prefix: str
    collection: str


RESOURCES: Mapping[Resource, ResourceFacts] = {
    "expert_set": ResourceFacts(prefix="exp", collection="expert-sets"),
    "distilled_set": ResourceFacts(prefix="set", collection="distilled-sets"),
    "model": ResourceFacts(prefix="mdl", collection="models"),
    "calibration": ResourceFacts(prefix="cal", collection="calibrations"),
    "report": ResourceFacts(prefix="rep", collection="reports"),
    "comparison": ResourceFacts(prefix="cmp", collection="comparisons"),
}
ID_PREFIXES = ("job", *(facts.prefix for facts in RESOURCES.values()))
"""What the ids of jobs and results begin with."""


def is_composite(kind: str) -> bool:
    """Whether jobs of a kind own other jobs instead of running."""
    return kind in COMPOSITE_KINDS
