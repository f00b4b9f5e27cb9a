"""Trajectories matched through the whole service: experts once, for whoever needs the same."""

from ddcal.client import Client
from tests.services import TINY_PIPELINE

MTT = {
    "method": "mtt",
    "images_per_class": 1,
    "iterations": 2,
    "width": 4,
    "depth": 1,
    "synthetic_steps": 2,
    "expert_epochs": 1,
    "max_start_epoch": 2,
}
EXPERTS = {"n_experts": 2, "epochs": 2, "width": 4, "depth": 1, "images_per_epoch": 50}
PARAMS = {**TINY_PIPELINE["params"], "seed": 21, "distill": MTT, "experts": EXPERTS}
PARAMS |= {"baselines": [], "calibrate": [{"method": "none"}]}


def test_experts_are_recorded_once(service):
    """Another method's settings on the same data and seed: its experts are those of the first."""
    other = {**PARAMS, "distill": {**MTT, "mask": {"ratio": 0.5}}}
    with Client(service.url) as client:
        first, second = (
            client.submit("pipeline", params=params).wait().record for params in (PARAMS, other)
        )
        taken = {child.role: child.reused_from for child in second.children}
        assert taken["experts"] == first.children[0].id
        assert taken["distill"] is None

        (distilled,) = client.job(second.children[1].id).results
        lineage = client.get(f"/v1/distilled-sets/{distilled.id}")["lineage"]
        (experts,) = client.job(second.children[0].id).results
        assert lineage == {"datasets": ["digits"], "expert_sets": [experts.id]}
        assert experts.record.details["n_experts"] == 2
