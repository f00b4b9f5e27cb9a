"""Pictures of distillations, listed and shown while they run and afterwards."""

from app.shared.engine.snapshots import SnapshotStore
from tests.api.serving import problem
from tests.api.test_pipelines import PIPELINE
from tests.api.test_results import DISTILL

PNG = b"\x89PNG\r\n\x1a\n"


def draw(api, run, *steps, picture=None):
    """As the trainer of a run does: this picture, or one that tells of its step."""
    folder = SnapshotStore(api.settings.snapshot_folder).open(run)
    for step in steps:
        (folder / f"{step}.png").write_bytes(picture or PNG + str(step).encode())


def test_pictures_come_while_a_distillation_runs(api):
    """Each at its address, by rising step; none before the first."""
    job = api.submit("distill", DISTILL)
    url = job["links"]["snapshots"]
    assert api.client.get(url).json() == {"items": []}
    draw(api, api.claim(), 10, 0, 200)
    items = api.client.get(url).json()["items"]
    assert items == [
        {"step": step, "n_bytes": 8 + len(str(step)), "url": f"{url}/{step}"}
        for step in (0, 10, 200)
    ]
    for item in items:
        answer = api.client.get(item["url"])
        assert answer.content == PNG + str(item["step"]).encode()
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_picture_that_is_known_is_not_sent_again(api):
    """Unless another attempt has drawn it anew."""
    job = api.submit("distill", DISTILL)
    run = api.claim()
    draw(api, run, 0)
    url = f"{job['links']['snapshots']}/0"
    answer = api.client.get(url)
    assert answer.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": answer.headers["etag"]}
    again = api.client.get(url, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    folder = SnapshotStore(api.settings.snapshot_folder).open(run)
    (folder / "0.png").write_bytes(PNG + b"anew")
    assert api.client.get(url, headers=known).content == PNG + b"anew"


def test_a_pipeline_has_those_of_its_distillation(api):
    """By both ids; other jobs have none."""
    job = api.submit("pipeline", PIPELINE)
    run = api.claim()
    assert run.kind == "distill"
    draw(api, run, 0)
    items = api.client.get(f"/v1/jobs/{job['id']}/snapshots").json()["items"]
    assert items == api.client.get(f"/v1/jobs/{run.id}/snapshots").json()["items"]
    assert len(items) == 1
    assert api.client.get(f"/v1/jobs/{job['id']}/snapshots/0").status_code == 200
    train = next(one for one in job["children"] if one["kind"] == "train")
    assert api.client.get(f"/v1/jobs/{train['id']}/snapshots").json() == {"items": []}
    assert "snapshots" not in api.job(train["id"])["links"]
    problem(api.client.get(f"/v1/jobs/{train['id']}/snapshots/0"), 404)


def test_what_there_is_not_is_refused(api):
    """Neither a step nobody has drawn, nor a job that is none, nor what is no number."""
    job = api.submit("distill", DISTILL)
    body = problem(api.client.get(f"/v1/jobs/{job['id']}/snapshots/7"), 404)
    assert body["code"] == "snapshot_not_found"
    problem(api.client.get(f"/v1/jobs/{job['id']}/snapshots/-1"), 422)
    problem(api.client.get(f"/v1/jobs/{job['id']}/snapshots/x"), 422)
    nobody = "job_" + "0" * 26
    problem(api.client.get(f"/v1/jobs/{nobody}/snapshots"), 404)
    problem(api.client.get(f"/v1/jobs/{nobody}/snapshots/0"), 404)
    problem(api.client.get("/v1/jobs/x/snapshots"), 404)


def test_pictures_go_with_their_job(api):
    """Files and all."""
    job_id, _ = api.make("distill", DISTILL)
    folder = api.settings.snapshot_folder / job_id / "1"
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(PNG)
    assert api.client.get(f"/v1/jobs/{job_id}/snapshots/0").status_code == 200
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    problem(api.client.get(f"/v1/jobs/{job_id}/snapshots/0"), 404)
    assert not folder.parent.exists()
