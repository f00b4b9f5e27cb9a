"""The spectrum of a distilled set, beside random real sets, as the newest report on it has it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.api.http.dependencies import Service
from app.shared.errors import DamagedFileError
from app.shared.store.catalog import Result, artifacts_of_resources

WIDTH, HEIGHT = 560, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 36
Curve = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """What a report says of a set's spectrum.

    Attributes:
        report_id: which says it.
        distilled_rank: effective rank of the set's images.
        real_rank: mean of random real sets of its size.
        n_images: of each set.
        distilled: relative singular values, as points of a polyline.
        real: likewise, mean over the real sets.
    """

    report_id: str
    distilled_rank: float
    real_rank: float
    n_images: int
    distilled: str
    real: str


def spectrum_of(
    service: Service, owner_id: str, result: Result, reports: Sequence[Result]
) -> Spectrum | None:
    """The spectrum of a distilled set, from the newest report that has one; None without."""
    if result.resource != "distilled_set" or not reports:
        return None
    with service.database.read() as connection:
        files = artifacts_of_resources(connection, owner_id, [reports[0].id])
    numbers = next((one for one in files if one.name == "report.json"), None)
    if numbers is None:
        return None
    try:
        held = json.loads(service.store.verified(numbers).read_bytes())
    except (DamagedFileError, FileNotFoundError):
        return None
    return _spectrum(held, reports[0].id, result.id)


def _spectrum(held: Mapping[str, Any], report_id: str, set_id: str) -> Spectrum | None:
    labels = {
        one.get("label")
        for one in held.get("training_sets", ())
        if one.get("distilled_set_id") == set_id
    }
    found = next(
        (
            one
            for one in held.get("spectrum_analysis", ())
            if one.get("training_set_label") in labels
        ),
        None,
    )
    if found is None:
        return None
    beside = found["as_they_are"]
    distilled, real = beside["distilled"], beside["real"]
    return Spectrum(
        report_id=report_id,
        distilled_rank=distilled["effective_rank"],
        real_rank=real["effective_rank"]["mean"],
        n_images=found["n_images"],
        distilled=_points(distilled["relative_values"]),
        real=_points(real["relative_values"]["mean"]),
    )


def _points(values: Curve) -> str:
    """Values in [0, 1] as points: the first at the left, 1 at the top."""
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    steps = max(len(values) - 1, 1)
    return " ".join(
        f"{_LEFT + width * place / steps:.1f},{_TOP + height * (1 - value):.1f}"
        for place, value in enumerate(values)
    )
