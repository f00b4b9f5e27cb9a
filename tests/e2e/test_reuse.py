"""A pipeline submitted twice: the second is there at once, with results of its own."""

import json

from ddcal.client import Client
from tests.services import SHORT_PIPELINE

PIPELINE = {**SHORT_PIPELINE, "reuse": True, "params": {**SHORT_PIPELINE["params"], "seed": 11}}


def files_of(client, job):
    """sha256 of each child's files, by role and name, in the order of the results."""
    found = {}
    for child in job.children:
        for result in client.job(child.id).results:
            for file in result.record.artifacts:
                found.setdefault((child.role, file.name), []).append(file)
    return found


def test_a_pipeline_submitted_again_is_not_computed_again(service, tmp_path):
    """Every child is taken over; learned files are the same, texts name the second's own ids."""
    with Client(service.url) as client:
        first, second = (client.submit(PIPELINE).wait().record for _ in range(2))
        assert [child.reused_from for child in first.children] == [None] * 4
        computed = [child.id for child in first.children]
        assert [child.reused_from for child in second.children] == computed

        ours, theirs = files_of(client, second), files_of(client, first)
        assert ours.keys() == theirs.keys()
        for place, files in ours.items():
            if place[1].endswith((".safetensors", ".npz", ".pt2", ".png")):
                shas = [file.sha256 for file in files]
                assert shas == [file.sha256 for file in theirs[place]], place

        (report,) = client.job(second.children[-1].id).results
        shown = client.get(f"/v1/reports/{report.id}")
        report.download(tmp_path)
        text = (tmp_path / "report.json").read_text()
        json.loads(text)
        assert shown["lineage"]["calibrations"]
        for calibration_id in shown["lineage"]["calibrations"]:
            assert calibration_id in text
            made_by = client.get(f"/v1/calibrations/{calibration_id}")["job_id"]
            assert made_by in {child.id for child in second.children}
        for child in computed:
            assert child not in text
        # The first can go; the second keeps what it has.
        client.job(first.id).delete()
        for files in ours.values():
            for file in files:
                client.fetch(file.id, tmp_path / "whole")
