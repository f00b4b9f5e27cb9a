"""Trajectories matched through the whole service: experts once, for whoever needs the same."""

import json

from ddcal.client import connect
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
    with connect(service.url) as client:
        first, second = (
            list(client.watch(client.submit({"kind": "pipeline", "params": params})["id"]))[-1]
            for params in (PARAMS, other)
        )
        states = {job["id"]: (job["state"], job["error"]) for job in (first, second)}
        assert {state for state, _ in states.values()} == {"succeeded"}, json.dumps(states)
        taken = {child["role"]: child["reused_from"] for child in second["children"]}
        assert taken["experts"] == first["children"][0]["id"]
        assert taken["distill"] is None

        (distilled,) = client.results(client.job(second["children"][1]["id"]))
        lineage = client.get(f"/v1/distilled-sets/{distilled['id']}")["lineage"]
        (experts,) = client.results(client.job(second["children"][0]["id"]))
        assert lineage == {"datasets": ["digits"], "expert_sets": [experts["id"]]}
        assert experts["details"]["n_experts"] == 2
