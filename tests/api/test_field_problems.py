"""Every field of every request, wrong in every way: told in our words, each place once."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic_core.core_schema import ErrorType

from app.api.job_submission import read_job_request
from app.shared.errors import InvalidRequestError
from app.submission.requests import JOB_REQUESTS
from app.submission.schema_places import fields_below, place_of
from ddcal_core.specs import fields
from tests.api.serving import problem, refusals

CODES_OF_PYDANTIC = set(get_args(ErrorType))
PHRASES = (
    "Input should", "valid dictionary", "nstance of", "Extra inputs", "union", "discriminator",
    "alidation error", "pydantic", "List should", "String should", "Tuple should", "Value error",
    "Field required", "greater than or equal", "valid integer", "extract", "<class", "Spec(",
)  # fmt: skip
WRONG = (None, True, "unheard-of", 3.7, -(10**9), 10**15, [], {}, [{}], "x" * 5_000, {"a": {}})
Wrap = Callable[[object], dict[str, Any]]


def bare(annotation):
    """A type without what is said of it."""
    while hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    return annotation


def models_in(annotation) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models that an annotation takes, and whether in a list."""
    one = bare(annotation)
    if isinstance(one, type) and issubclass(one, BaseModel):
        yield one, False
    elif get_origin(one) in (list, tuple):
        yield from ((model, True) for model, _ in models_in(get_args(one)[0]))
    elif get_origin(one) is not Literal:
        for member in get_args(one):
            yield from models_in(member)


def objects(model, wrap: Wrap, depth=0) -> Iterator[tuple[type[BaseModel], dict, Wrap]]:
    """Every object that a request may have, with the words that tell it apart and its request."""
    told = {
        name: get_args(field.annotation)[0]
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    if "dataset" in model.model_fields:
        told["dataset"] = "digits"
    yield model, told, wrap
    for name, field in model.model_fields.items() if depth < 5 else ():
        for member, is_item in models_in(field.annotation):

            def around(inner, name=name, is_item=is_item, told=told):
                return wrap({**told, name: [inner] if is_item else inner})

            yield from objects(member, around, depth + 1)


def damaged() -> Iterator[tuple[dict[str, Any], str]]:
    """Requests with one field wrong each, and its name."""
    for request in JOB_REQUESTS.values():
        for model, told, wrap in objects(request, lambda whole: whole):
            yield wrap({**told, "unheard_of": 1}), "unheard_of"
            for name in model.model_fields:
                yield wrap({**told, name[:-1] + name[-1] * 2: 1}), name
                yield wrap({key: one for key, one in told.items() if key != name}), name
                for value in WRONG:
                    yield wrap({**told, name: value}), name


def problems_of(document):
    """What a request is refused for; nothing where it is taken."""
    try:
        read_job_request(document)
    except InvalidRequestError as error:
        return error.problems
    return ()


def class_names() -> set[str]:
    """The names of all models that a request is made of."""
    return {
        model.__name__
        for request in JOB_REQUESTS.values()
        for model, _, _ in objects(request, lambda whole: whole)
    }


def leads_into(pointer: str, document: object) -> bool:
    """Does a pointer name a place of a document, or one where a field is missing?"""
    *above, _ = pointer.split("/")[1:] or [""]
    node = document
    for part in above:
        if isinstance(node, list):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return False
    return True


def test_every_field_wrong_in_every_way_is_told_in_our_words():
    """No name of a class, no code and no phrase of the validator's; pointers lead into the body."""
    names, n_refused = class_names(), 0
    assert {"MaskSpec", "PipelineParams", "TemperatureScaling", "RtpSpec"} <= names
    for document, _ in damaged():
        found = problems_of(document)
        n_refused += bool(found)
        assert len({one.pointer for one in found}) == len(found), (document, found)
        for one in found:
            assert one.code not in CODES_OF_PYDANTIC, (document, one)
            told = one.detail
            assert not [phrase for phrase in PHRASES if phrase in told], (document, one)
            assert not [name for name in names if name in told], (document, one)
            assert "_type" not in told, (document, one)
            # What is said of a code that has no words.
            assert "another value" not in told, (document, one)
            assert len(told) < 600, (document, one)
            assert leads_into(one.pointer, document), (document, one)
    assert n_refused > 3_000


def test_a_letter_too_many_is_seen_through():
    """The field that was meant is named, wherever it is not too short to tell."""
    for document, name in damaged():
        last = name[:-1] + name[-1] * 2
        for one in problems_of(document):
            if one.code == "unknown_field" and one.pointer.endswith(f"/{last}") and len(name) > 3:
                # A field of the other shape of calibrate's params is named by its place.
                meant = one.detail.partition("did you mean ")[2]
                assert meant in (f'"{name}"?', f"/params/{name}?"), one


def told_of(params=None, **beside):
    """Pointer -> message of a pipeline's problems."""
    document = {"kind": "pipeline", "params": {"dataset": "digits", **(params or {})}, **beside}
    return {one.pointer: one.detail for one in problems_of(document)}


@pytest.mark.parametrize(
    ("params", "pointer", "meant"),
    [
        ({"distill": {"ipc": 1}}, "/params/distill/ipc", '"images_per_class"'),
        ({"ipc": 1}, "/params/ipc", "/params/distill/images_per_class"),
        ({"distill": {"epochs": 1}}, "/params/distill/epochs", '"iterations"'),
        ({"train": {"iterations": 1}}, "/params/train/iterations", '"epochs"'),
        ({"train": {"learning_rate": 1}}, "/params/train/learning_rate", '"lr"'),
        ({"train": {"model": "vit"}}, "/params/train/model", '"network"'),
        ({"model": "vit"}, "/params/model", "/params/train/network"),
        ({"mask_ratio": 0.3}, "/params/mask_ratio", "/params/distill/mask/ratio"),
        (
            {"distill": {"mask_ratio": 0.3}},
            "/params/distill/mask_ratio",
            "/params/distill/mask/ratio",
        ),
        ({"calibrate": [{"method": "temperature_scaling"}]}, "/params/calibrate/0/method", '"ts"'),
        ({"calibrate": ["ts"]}, "/params/calibrate/0", '{"method": "ts"}'),
        ({"distill": "mtt"}, "/params/distill", '{"method": "mtt"}'),
        ({"train": {"network": "ResNet-18"}}, "/params/train/network", '"resnet18"'),
        ({"train": {"loss": {"name": "CE"}}}, "/params/train/loss/name", '"cross_entropy"'),
        (
            {"calibrate": [{"method": "mts", "mask": {"ratio": "atuo"}}]},
            "/params/calibrate/0/mask/ratio",
            '"auto"',
        ),
        ({"baselines": [{"sorce": "random"}]}, "/params/baselines/0/sorce", '"source"'),
    ],
)
def test_the_words_of_the_field_lead_to_ours(params, pointer, meant):
    """Names and values that other code has, and objects given by their word."""
    assert f"did you mean {meant}?" in told_of(params)[pointer]


def test_what_resembles_nothing_is_met_with_no_guess():
    """A wrong guess is worse than none."""
    told = told_of({"zzqqxx": 1, "calibrate": [{"method": "qqqqq"}]})
    assert not [one for one in told.values() if "did you mean" in one]


def test_all_problems_are_told_at_once(shared_api):
    """Beside each other: of a wrong member of a union too, of numbers, and of what is not there."""
    body = (
        '{"kind": "pipeline", "priority": "high", "params": {"dataset": "digts", "seed": NaN,'
        ' "distill": {"method": "dmm", "ipc": 5, "lr": -1}, "calibrate": [{"method": "ts"}, 3]}}'
    )
    headers = {"Content-Type": "application/json"}
    answer = shared_api.client.post("/v1/jobs", content=body, headers=headers)
    assert set(refusals(answer)) == {
        ("/priority", "wrong_type"),
        ("/params/seed", "not_finite"),
        ("/params/dataset", "unknown_dataset"),
        ("/params/distill/method", "unknown_value"),
        ("/params/distill/ipc", "unknown_field"),
        ("/params/distill/lr", "out_of_range"),
        ("/params/calibrate/1", "wrong_type"),
    }
    assert 'did you mean "digits"?' in answer.text.replace('\\"', '"')


def test_an_unknown_kind_hides_no_other_problem(shared_api):
    """What stands beside params is the same for every kind."""
    answer = shared_api.client.post("/v1/jobs", json={"kind": "pipline", "prority": 1})
    assert refusals(answer) == [("/kind", "unknown_kind"), ("/prority", "unknown_field")]
    told = [one["detail"] for one in answer.json()["errors"]]
    assert 'did you mean "pipeline"?' in told[0]
    assert 'did you mean "priority"?' in told[1]


def test_parameters_are_told_in_our_words(shared_api):
    """Of every address that takes some: an unknown name and wrong values."""
    document = shared_api.client.get("/openapi.json").json()
    n_seen = 0
    for path, operations in document["paths"].items():
        parameters = operations.get("get", {}).get("parameters", ())
        names = [one["name"] for one in parameters if one["in"] == "query"]
        if not names or "{" in path:
            continue
        for query in ({f"{names[0]}x": 1}, *({name: "%%" * 200} for name in names)):
            answer = shared_api.client.get(path, params=query)
            if answer.status_code != 422:
                continue
            n_seen += 1
            for one in problem(answer, 422)["errors"]:
                assert one["code"] not in CODES_OF_PYDANTIC, one
                assert not [phrase for phrase in PHRASES if phrase in one["detail"]], one
        told = shared_api.client.get(path, params={f"{names[0]}x": 1}).json()["errors"][0]
        assert f'did you mean "{names[0]}"?' in told["detail"]
    assert n_seen > 10


def test_every_form_is_put_in_words():
    """A pattern tells nobody what an id looks like."""
    patterns = [value for name, value in vars(fields).items() if name.endswith("REFERENCE")]
    assert len(patterns) == 6
    assert set(fields.FORMS) == {*patterns, fields.NAME}
    assert "^" not in told_of({"dataset": "a b"})["/params/dataset"]


def test_a_pipeline_is_its_data_set(shared_api):
    """The rest answers the usual question: as trained, by validation images, by the set alone."""
    job = shared_api.submit("pipeline", {"dataset": "digits"})
    params = job["params"]
    assert params["distill"]["method"] == "dm"
    assert [(one["method"], one.get("fit_on")) for one in params["calibrate"]] == [
        ("none", None), ("ts", "validation"), ("mts", "training_set"),
    ]  # fmt: skip
    assert params["calibrate"][2]["mask"] == {"ratio": "auto"}
    # A third block on 8 x 8 pixels costs accuracy; who asks for it gets it.
    assert (params["train"]["network"], params["train"]["depth"]) == ("convnet", 2)
    deep = shared_api.submit("pipeline", {"dataset": "digits", "train": {"depth": 3}})
    assert deep["params"]["train"]["depth"] == 3
    assert params["baselines"] == [{"source": "random"}]
    assert [child["role"] for child in job["children"]] == [
        "distill", "train-distilled", "train-random", "calibrate-distilled", "calibrate-random",
        "evaluate",
    ]  # fmt: skip


def test_a_place_is_found_by_what_a_validator_says_of_it():
    """The members of unions that it chose are in its words and not in the document."""
    pipeline = JOB_REQUESTS["pipeline"]
    location = ("params", "calibrate", 1, "mts", "mask", "ratio given", "ratio")
    place = place_of(pipeline, location)
    assert place.path == ("params", "calibrate", 1, "mask", "ratio")
    assert place.holder is not None
    assert place.holder.__name__ == "MaskSpec"
    assert ("params", "distill", "mask", "ratio") in [path for _, path in fields_below(pipeline)]
