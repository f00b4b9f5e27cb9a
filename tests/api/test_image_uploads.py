"""Zips of image files through HTTP: options and layout at once, what was found in the body."""

import subprocess
import sys
import zipfile

import pytest

from app.shared.upkeep.housekeeping import keep_house
from tests.api.npz import npz
from tests.api.serving import problem, refusals, running_api
from tests.image_files import Member, class_folders, noise, one_level, zipped, zipped_by_hand
from tests.waiting import until


def upload(api, members, name="mine", **options):
    """Post a zip of these members."""
    return api.client.post(
        "/v1/datasets",
        params={"name": name, **options},
        content=members if isinstance(members, bytes) else zipped(members),
        headers={"Content-Type": "application/zip"},
    )


def test_a_zip_of_folders_is_accepted_and_checked_by_a_job(api):
    """202 with what was found; the job is told the options that were given."""
    members = {**class_folders(), "train/.DS_Store": b"x", "__MACOSX/._train": b"x"}
    answer = upload(api, members, resize=32, colour="grey")
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert body["state"] == "checking"
    assert body["image_files"] == {
        "n_images": 10, "n_ignored": 2, "ignored": ["train/.DS_Store", "__MACOSX/._train"],
        "split": "folders", "test_fraction": None, "seed": None,
        "resize": 32, "colour": "grey",
    }  # fmt: skip
    job = api.job(body["job_id"])
    assert job["params"]["options"] == {"resize": 32, "colour": "grey"}
    api.check_upload()
    ready = api.client.get("/v1/datasets/mine").json()
    assert (ready["state"], ready["image_files"]) == ("ready", body["image_files"])
    assert api.client.get("/v1/datasets").json()["items"][-1] == ready


def test_a_split_by_seed_is_told(api):
    """With the defaults that were taken."""
    body = upload(api, one_level()).json()
    assert body["image_files"]["split"] == "seed"
    assert (body["image_files"]["test_fraction"], body["image_files"]["seed"]) == (0.2, 0)
    body = upload(api, one_level(), "other", test_fraction=0.35, seed=9).json()
    assert (body["image_files"]["test_fraction"], body["image_files"]["seed"]) == (0.35, 9)


def test_an_npz_has_no_image_files(api):
    """Nor options."""
    body = upload(api, npz()).json()
    assert (body["state"], body["image_files"]) == ("checking", None)


@pytest.mark.parametrize(
    ("members", "options", "wanted"),
    [
        (one_level(), {"resize": 7}, [("/query/resize", "out_of_range")]),
        (one_level(), {"resize": 257}, [("/query/resize", "out_of_range")]),
        (one_level(), {"resize": "big"}, [("/query/resize", "wrong_type")]),
        (one_level(), {"colour": "gray"}, [("/query/colour", "unknown_value")]),
        (one_level(), {"test_fraction": 0}, [("/query/test_fraction", "out_of_range")]),
        (one_level(), {"test_fraction": 1}, [("/query/test_fraction", "out_of_range")]),
        (one_level(), {"test_fraction": "nan"}, [("/query/test_fraction", "out_of_range")]),
        (one_level(), {"seed": -1}, [("/query/seed", "out_of_range")]),
        (one_level(), {"resise": 32}, [("/query/resise", "unknown_field")]),
        (
            class_folders(),
            {"test_fraction": 0.5, "seed": 1, "resize": 16},
            [("/query/test_fraction", "not_applicable"), ("/query/seed", "not_applicable")],
        ),
        (npz(), {"colour": "rgb"}, [("/query/colour", "not_applicable")]),
        (
            npz(),
            {"seed": 1, "names": "cp437"},
            [("/query/names", "not_applicable"), ("/query/seed", "not_applicable")],
        ),
        (one_level(), {"label": "y"}, [("/query/label", "not_applicable")]),
        (one_level(), {"names": "cp000"}, [("/query/names", "unknown_value")]),
        (one_level(), {"background": "pink"}, [("/query/background", "wrong_form")]),
        (one_level(), {"grey_bits": 8}, [("/query/grey_bits", "out_of_range")]),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(shared_api, members, options, wanted):
    """Before or after the bytes have travelled, always with a pointer; nothing is left."""
    assert refusals(upload(shared_api, members, **options)) == wanted
    assert shared_api.uploads() == []
    problem(shared_api.client.get("/v1/datasets/mine"), 404)


def bomb():
    """A megabyte of zeros called an image."""
    return zipped({**one_level(), "cat/b.png": bytes(1_000_000)}, zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            zipped({"readme.txt": b"x"}),
            "wanted PNG, JPEG, WebP, BMP or TIFF files as train/CLASS/FILE",
        ),
        (zipped({}), "got no file"),
        (zipped({**one_level(), "../../evil.png": b"x"}), "'..'"),
        (zipped({**one_level(), "/etc/evil.png": b"x"}), "relative names"),
        (zipped_by_hand([Member(b"cat\\..\\..\\0.png")]), "'..'"),
        (zipped_by_hand([Member(b"cat/0.png", b"/etc/passwd", mode=0o120777)]), "symbolic link"),
        (zipped_by_hand([Member(b"cat/0.png", flags=1)]), "encrypted"),
        (zipped_by_hand([Member(b"cat/\xff.png")]), "UTF-8"),
        (zipped({**one_level(), "cat/inner.zip": zipped(one_level())}), "no archives inside"),
        (zipped_by_hand([Member(b"cat/0.png"), Member(b"cat/0.png")]), "twice"),
        (bomb(), "ratio"),
        (zipped({name: noise(0, 8, 8) for name in ("cat/0.png", "cat/1.png")}), "got 1: 'cat'"),
        (zipped(one_level())[:-30], "no whole zip"),
    ],
)
def test_a_zip_that_cannot_be_is_refused_at_once(shared_api, content, words):
    """422 that says what was wanted and got; no data set, no job, no file."""
    before = shared_api.n_jobs()
    assert words in problem(upload(shared_api, content), 422)["detail"]
    assert shared_api.uploads() == []
    assert shared_api.n_jobs() == before


def test_the_options_are_described(shared_api):
    """In the OpenAPI document, with their bounds."""
    operation = shared_api.client.get("/openapi.json").json()["paths"]["/v1/datasets"]["post"]
    found = {one["name"]: one for one in operation["parameters"] if one["in"] == "query"}
    options = {"resize", "colour", "test_fraction", "seed", "background", "grey_bits"}
    options |= {"names", "label"}
    assert set(found) == {"name", "tag", "notes"} | options
    assert [name for name, one in found.items() if one["required"]] == ["name"]
    assert "Lanczos" in found["resize"]["description"]
    assert {"minimum": 8, "maximum": 256}.items() <= found["resize"]["schema"]["anyOf"][0].items()


WRITER = """
import sys, time
from pathlib import Path
from app.api.http.uploads import Sink
sink = Sink(Path(sys.argv[1]))
sink.write(b"half of it")
print(sink.path.name, flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_left_is_swept_at_the_next_start(api):
    """Its half upload; not what waits for its check, nor what is being written, nor other files."""
    folder = api.settings.upload_folder
    waiting = api.job(upload(api, one_level()).json()["job_id"])["params"]["upload"]
    (folder / "note.txt").write_text("not ours")
    names = set()
    with (
        subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE) as killed,
        subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE) as writing,
    ):
        names = {one.stdout.readline().decode().strip() for one in (killed, writing)}
        assert names < {path.name for path in folder.iterdir()}
        killed.kill()
        killed.wait(30)
        with running_api(api.settings):
            until(lambda: len(names & {path.name for path in folder.iterdir()}) == 1)
        assert {path.name for path in folder.iterdir()} - names == {waiting, "note.txt"}
        writing.kill()
    keep_house(api.database, api.settings)
    assert {path.name for path in folder.iterdir()} == {waiting, "note.txt"}


def test_an_upload_whose_check_has_ended_is_swept(api):
    """A worker killed just before deleting it leaves it to the next start."""
    upload(api, one_level())
    (path,) = api.uploads()
    api.check_upload()
    keep_house(api.database, api.settings)
    assert not path.exists()
