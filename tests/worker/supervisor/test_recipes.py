"""The recipe of a run: the same for what gives the same results, another for all else."""

import copy
import hashlib
import shutil
from pathlib import Path

import pytest

from app.shared.store.kinds import ATOMIC_KINDS, INTAKE, RARE_KINDS
from tests.worker.small_jobs import (
    distill_params,
    model_input,
    run_kind,
    set_input,
    train_params,
    write_dataset,
)
from worker.supervisor import recipes
from worker.supervisor.recipes import (
    computation_of,
    recipe_of,
    source_digest,
    with_ids_replaced,
)
from worker.trainer.kinds import COMPUTATIONS

SET_A, SET_B = "set_" + "a" * 26, "set_" + "b" * 26
MODEL_A, MODEL_B = "mdl_" + "a" * 26, "mdl_" + "b" * 26
JOB = "job_" + "c" * 26
SHA = "0f" * 32

PARAMS = {"models": [JOB], "seed": 3, "calibrate": [{"method": "ts", "fit_on": "validation"}]}


def inputs_with(*, set_id=SET_A, model_id=MODEL_A, folder="/data/artifacts/job_1", seconds=1.5):
    """A calibration's inputs, of a model trained on a distilled set."""
    return {
        "dataset": {
            "name": "digits",
            "facts": {"mean": [0.5]},
            "named_folder": folder,
            "allow_downloads": False,
            "train_path": None,
        },
        "models": [
            {
                "id": model_id,
                "path": f"{folder}/{SHA}",
                "config": {"distilled_set_id": set_id, "seed": 0, "seconds": seconds},
            }
        ],
        "distilled_sets": {
            set_id: {"id": set_id, "path": f"{folder}/{SHA}", "manifest": {"seconds": seconds}}
        },
    }


def recipe_with(kind="calibrate", params=PARAMS, threads=2, device="cpu", **inputs):
    """A recipe that differs from the plain one in what is given."""
    return recipe_of(kind, params, inputs_with(**inputs), threads=threads, device=device)


PLAIN = recipe_with()


@pytest.mark.parametrize(
    "same",
    [
        recipe_with(set_id=SET_B, model_id=MODEL_B),
        recipe_with(folder="/elsewhere/artifacts/job_2"),
        recipe_with(seconds=99.0),
        recipe_with(params={**PARAMS, "models": [MODEL_A]}),
    ],
    ids=["other ids", "other folders", "other durations", "named directly"],
)
def test_what_decides_nothing_is_left_out(same):
    """Ids, places, durations and the way of naming an input."""
    assert same.digest == PLAIN.digest


@pytest.mark.parametrize(
    "other",
    [
        recipe_with(kind="train"),
        recipe_with(params={**PARAMS, "seed": 4}),
        recipe_with(params={**PARAMS, "calibrate": [{"method": "none"}]}),
        recipe_with(threads=3),
        recipe_with(device="cuda"),
    ],
    ids=["kind", "seed", "method", "threads", "device"],
)
def test_what_decides_is_in_it(other):
    """Anything that may change a byte of the results."""
    assert other.digest != PLAIN.digest


@pytest.mark.parametrize(
    "place",
    [
        ("dataset", "name"),
        ("dataset", "facts", "mean"),
        ("dataset", "train_path"),
        ("models", 0, "path"),
        ("models", 0, "config", "seed"),
        ("distilled_sets", SET_A, "path"),
    ],
)
def test_every_input_counts_by_content(place):
    """A file with other bytes has another name; other facts are other inputs."""
    inputs = inputs_with()
    *way, last = place
    inner = inputs
    for step in way:
        inner = inner[step]
    inner[last] = f"/data/{'1e' * 32}"
    assert recipe_of("calibrate", PARAMS, inputs, threads=2, device="cpu").digest != PLAIN.digest


def test_which_input_stands_where_counts():
    """Two models that change places are another recipe, two models of other ids are not."""
    inputs = inputs_with()
    inputs["models"].append({**copy.deepcopy(inputs["models"][0]), "id": MODEL_B, "path": "/d/b"})
    calibrations = [{"id": "cal_" + "d" * 26, "model_id": MODEL_A}]

    def digest(of):
        both = {**inputs, "calibrations": [{**calibrations[0], "model_id": of}]}
        return recipe_of("evaluate", {}, both, threads=2, device="cpu").digest

    assert digest(MODEL_A) != digest(MODEL_B)


def test_ids_stand_in_the_order_of_their_places():
    """So that one job's ids can be put in place of another's."""
    one, other = PLAIN, recipe_with(set_id=SET_B, model_id=MODEL_B)
    new_ids = dict(zip(one.ids, other.ids, strict=True))
    assert new_ids[SET_A] == SET_B
    assert new_ids[MODEL_A] == MODEL_B


def chain(folder, dataset, letter):
    """Distilled, trained and calibrated anew; the recipe of each, ids and folders of its own."""
    found = []

    def run(kind, params, inputs):
        found.append(recipe_of(kind, params, inputs, threads=1, device="cpu").digest)
        return run_kind(kind, params, inputs, folder / f"{letter}-{kind}")

    def stored(described):
        source = Path(described["path"])
        path = folder / letter / hashlib.sha256(source.read_bytes()).hexdigest()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(source.read_bytes())
        return {**described, "path": str(path)}

    (distilled,) = run("distill", distill_params(), {"dataset": dataset, "experts": None})
    set_id, job_id = f"set_{letter * 26}", f"job_{letter * 26}"
    own = stored(set_input(distilled, set_id))
    source = {"source": "distilled", "distilled_set": job_id}
    inputs = {"dataset": None, "distilled_set": own}
    models = run("train", train_params(source, n_seeds=2, epochs=2), inputs)
    described = [stored(model_input(one, f"mdl_{k}{letter * 25}")) for k, one in enumerate(models)]
    params = {"models": [job_id], "seed": 1, "calibrate": [{"method": "ts"}]}
    inputs = {"dataset": dataset, "models": described, "distilled_sets": {set_id: own}}
    run("calibrate", params, inputs)
    return found


@pytest.mark.long
def test_a_chain_computed_anew_has_the_same_recipes(tmp_path):
    """What kinds say of their results holds nothing that is another each time but seconds."""
    dataset = write_dataset(tmp_path)
    assert chain(tmp_path, dataset, "a") == chain(tmp_path, dataset, "b")


def test_ids_in_a_text_are_replaced():
    """All that are to be, and nothing that looks like one."""
    text = f'{{"a": "{SET_A}", "b": ["{MODEL_A}", "un{SET_A}", "{SET_A}x"]}}'
    replaced = with_ids_replaced(text, {SET_A: SET_B, JOB: "no"})
    assert replaced == f'{{"a": "{SET_B}", "b": ["{MODEL_A}", "un{SET_A}", "{SET_A}x"]}}'


def forget_sources():
    """Read every source again."""
    source_digest.cache_clear()


def digests(computations):
    """The digest of each, from sources as they are now."""
    forget_sources()
    return {name: source_digest(name) for name in computations}


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A tree of our modules, as small as can be: a kind that imports one of two."""
    for name, text in {
        "worker/__init__.py": "",
        "worker/trainer/trainer.py": "",
        "worker/trainer/kinds/__init__.py": "from worker.trainer.kinds import a, b\n",
        "worker/trainer/kinds/a.py": "import torch\nfrom ddcal_core.mathematics import one\n",
        "worker/trainer/kinds/b.py": "",
        "ddcal_core/__init__.py": "",
        "ddcal_core/mathematics.py": "from ddcal_core import deeper\none = 1\n",
        "ddcal_core/deeper.py": "two = 2\n",
        "ddcal_core/elsewhere.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(recipes, "ROOT", tmp_path)
    yield tmp_path
    monkeypatch.undo()
    forget_sources()


@pytest.mark.parametrize(
    ("module", "counts"),
    [
        ("worker/trainer/trainer.py", True),
        ("worker/trainer/kinds/a.py", True),
        ("ddcal_core/mathematics.py", True),
        ("ddcal_core/deeper.py", True),
        ("worker/trainer/kinds/b.py", False),
        ("ddcal_core/elsewhere.py", False),
    ],
)
def test_the_sources_a_computation_imports_count(sources: Path, module, counts):
    """However indirectly; another's do not."""
    before = digests("a")
    with (sources / module).open("a") as file:
        file.write("changed = True\n")
    assert (digests("a") != before) == counts


def test_words_do_not_count(sources: Path):
    """Comments, docstrings, layout and what fields say of themselves decide no byte."""
    path = sources / "ddcal_core/deeper.py"
    path.write_text('two = Field(2, description="a number")\ndef half():\n    return two / 2\n')
    before = digests("a")
    path.write_text(
        '"""Deep."""\n\n# Why.\ntwo = Field(\n    2, description="another word"\n)\n"""A two."""\n'
        'def half():\n    """Half of it."""\n    return two / 2  # not three\n'
    )
    assert digests("a") == before
    path.write_text('two = Field(2, title="a number")\ndef half():\n    return two / 3\n')
    assert digests("a") != before


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory):
    """A copy of our sources, to be edited."""
    folder = tmp_path_factory.mktemp("tree")
    for package in recipes.OUR_PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(recipes.ROOT / package, folder / package, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def unedited():
    """The digest of each, from our sources."""
    return digests(EVERY)


@pytest.fixture
def tree(copied_tree, monkeypatch):
    """The copy, as what recipes are made of."""
    monkeypatch.setattr(recipes, "ROOT", copied_tree)
    yield copied_tree
    monkeypatch.undo()
    forget_sources()


# What has no recipe: each time it is asked for, it is done.
WITHOUT = {*RARE_KINDS, "import_network", "import_whitened_sets"}
EVERY = frozenset(COMPUTATIONS) - WITHOUT
REPORTING = frozenset({"evaluate", "calibrate_logits"})
CODE = "ADDED = 1\n"
WORDS = "# A comment.\n"


@pytest.mark.parametrize(
    ("file", "added", "changed"),
    [
        ("ddcal_core/training/train.py", CODE, EVERY - {"experts"}),
        ("ddcal_core/training/train.py", WORDS, frozenset()),
        ("ddcal_core/seeding.py", CODE, EVERY),
        ("ddcal_core/distillation/dm.py", CODE, {"distill"}),
        ("worker/trainer/report/page/captions.py", CODE, REPORTING),
        ("worker/trainer/report/page/page.css", "p {margin: 0}\n", REPORTING),
        ("worker/trainer/report/findings.py", CODE, REPORTING),
        ("ddcal_core/formats/reports.py", CODE, REPORTING),
        ("ddcal_core/intake/job_messages.py", CODE, frozenset()),
        ("ddcal_core/specs/methods/mtt.py", CODE, {"distill"}),
        ("ddcal_core/specs/kinds/pipeline.py", CODE, frozenset()),
        ("ddcal_core/intake/process.py", CODE, frozenset()),
        ("worker/supervisor/supervisor.py", CODE, frozenset()),
        *((f"ddcal_core/specs/kinds/{name}.py", CODE, {name}) for name in sorted(EVERY)),
        *((f"worker/trainer/kinds/{name}.py", CODE, {name}) for name in sorted(EVERY)),
    ],
)
def test_an_edit_changes_what_computes_with_it_alone(
    tree: Path, unedited: dict[str, str], file, added, changed
):
    """A caption, a page, a comment or another kind's spec changes no other kind's recipes."""
    path = tree / file
    text = path.read_text()
    path.write_text(text + added)
    after = digests(EVERY)
    path.write_text(text)
    assert {name for name in EVERY if after[name] != unedited[name]} == changed


def test_each_computation_has_a_digest_of_its_own():
    """Jobs of two kinds are never taken for each other."""
    assert len(set(digests(EVERY).values())) == len(EVERY)


def test_a_calibration_of_logits_is_a_computation_of_its_own():
    """It writes a report, and what is edited there is nothing to the calibration of networks."""
    assert computation_of("calibrate", {"logits": "mine"}) == "calibrate_logits"
    assert computation_of(INTAKE, {"content": "network"}) == "import_network"
    whitened = {"content": "distilled_sets", "options": {"zca_eps": 0.1}}
    assert computation_of(INTAKE, whitened) == "import_whitened_sets"
    computed = set(ATOMIC_KINDS) - {*RARE_KINDS, INTAKE}
    assert {computation_of(kind, {}) for kind in computed} | {"calibrate_logits"} == EVERY


def test_recipes_of_another_version_do_not_match(monkeypatch):
    """What a digest is made of has a number."""
    monkeypatch.setattr(recipes, "RECIPE_VERSION", 1)
    assert recipe_with().digest != PLAIN.digest
