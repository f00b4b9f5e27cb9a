import re
from difflib import unified_diff

import jsonschema
import pytest

from app.shared.store.kinds import KINDS, RESOURCES
from app.submission.examples import EXAMPLES, EXAMPLES_ON_UPLOADS
from tests.api.npz import upload_logits
from tests.api.openapi_copy import COPY, as_text
from tests.api.openapi_copy import document as described

REFUSED = {"4", "5"}


LOGITS_FACTS = {
    "class_names": ["a", "b"],
    "fit_class_counts": [2, 3],
    "test_class_counts": [],
    "dtype": "float64",
}


@pytest.fixture(scope="module")
def document(shared_api):
    """The document as served."""
    return shared_api.client.get("/openapi.json").json()


def operations(document):
    """Every (method, path, operation)."""
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def references(node):
    """Every $ref below a node."""
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [ref for value in node.values() for ref in references(value)]
    if isinstance(node, list):
        return [ref for item in node for ref in references(item)]
    return []


def test_the_document_changes_on_purpose_alone():
    """Whoever has generated a client sees the change in the stored copy, and so do reviewers."""
    changed = (
        "docs/openapi.json is of another version; `python -m tests.api.openapi_copy` writes it"
    )
    stored = COPY.read_text(encoding="utf-8").splitlines()
    difference = list(unified_diff(stored, as_text(described()).splitlines(), "stored", "now", n=1))
    assert difference == [], "\n".join([changed, *difference[:60]])


def test_every_reference_leads_somewhere(document):
    """No schema is missing."""
    for reference in references(document):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"], reference


def test_every_operation_is_described(document):
    """A summary or description, a body for success, problem+json for the rest."""
    for method, path, operation in operations(document):
        assert operation.get("description") or operation.get("summary"), path
        for status, response in operation["responses"].items():
            if status[0] in REFUSED or status == "default":
                assert list(response["content"]) == ["application/problem+json"], (method, path)


def described_places(document):
    """Every field of a body and parameter of an operation, with what the document says of it."""
    for name, schema in document["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            yield f"{name}.{field}", told
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            yield f"{operation['operationId']}({parameter['name']})", parameter


def test_every_field_parameter_and_body_is_described(document):
    """In words: types alone do not tell what a number is of."""
    assert [
        place for place, told in described_places(document) if not told.get("description")
    ] == []
    schemas = document["components"]["schemas"].items()
    assert [name for name, schema in schemas if not schema.get("description")] == []


def unions(node):
    """Every union below a node that a word tells apart."""
    if isinstance(node, dict):
        found = [node] if "oneOf" in node and "discriminator" in node else []
        return found + [union for value in node.values() for union in unions(value)]
    if isinstance(node, list):
        return [union for item in node for union in unions(item)]
    return []


def test_what_tells_the_members_of_a_union_apart_is_required(document):
    """A generated client tries one after the other: a word that may be left out fits too many."""
    found = unions(document)
    assert len(found) > 10
    for union in found:
        word = union["discriminator"]["propertyName"]
        for member in union["oneOf"]:
            schema = document["components"]["schemas"][member["$ref"].rpartition("/")[2]]
            assert word in schema["required"], member
            assert {"const", "enum"} & set(schema["properties"][word]), member


def test_defaults_are_plain_values(document):
    """Generators of clients stumble over objects and lists; the descriptions tell those."""
    places = dict(described_places(document))
    values = {place: told["default"] for place, told in places.items() if "default" in told}
    assert values["TrainSpec.epochs"] == 300
    assert [place for place, value in values.items() if isinstance(value, dict | list)] == []


def test_a_job_has_the_params_of_its_kind(document):
    """Those of its submission, whose schemas they are."""
    schemas = document["components"]["schemas"]
    jobs = schemas["JobBody"]["discriminator"]["mapping"]
    assert set(jobs) == set(KINDS)
    for kind, request in schemas["JobRequest"]["discriminator"]["mapping"].items():
        asked = schemas[request.rpartition("/")[2]]["properties"]["params"]
        shown = schemas[jobs[kind].rpartition("/")[2]]["properties"]["params"]
        assert sorted(references(asked)) == sorted(references(shown)) != []


def test_a_result_has_the_details_of_its_resource(document):
    """In lists as well as by itself, each in fields of its own."""
    schemas = document["components"]["schemas"]
    found = {}
    for name, schema in schemas.items():
        resource = schema.get("properties", {}).get("resource", {}).get("const")
        if resource is not None:
            details = references(schema["properties"]["details"])
            assert all(schemas[one.rpartition("/")[2]]["properties"] for one in details), name
            found.setdefault(resource, []).append(details)
    assert set(found) == set(RESOURCES)
    for lists_and_itself in found.values():
        assert len(lists_and_itself) == 2
        assert lists_and_itself[0] == lists_and_itself[1] != []


def test_work_that_is_left_is_a_202(document):
    """And nothing is a 201: what is made has a job to end first."""
    statuses = {one["operationId"]: set(one["responses"]) for *_, one in operations(document)}
    assert {name for name, own in statuses.items() if "202" in own} == {
        "submit_job", "retry_job", "cancel_job", "upload_dataset", "upload_logits",
        "upload_distilled_sets", "upload_network", "download_distilled_set", "download_model",
        "download_calibration", "download_report", "download_comparison",
        "create_comparison",
    }  # fmt: skip
    assert [name for name, own in statuses.items() if "201" in own] == []


def test_the_document_covers_the_issue(document):
    """Every resource that was promised."""
    paths = set(document["paths"])
    for path in (
        "/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/cancel", "/v1/jobs/{job_id}/events",
        "/v1/jobs/{job_id}/log", "/v1/jobs/{job_id}/artifacts", "/v1/datasets",
        "/v1/datasets/{name}", "/v1/logits", "/v1/logits/{name}", "/v1/distilled-sets",
        "/v1/models", "/v1/calibrations",
        "/v1/reports", "/v1/reports/{result_id}", "/v1/artifacts/{artifact_id}",
        "/v1/artifacts/{artifact_id}/content", "/healthz", "/readyz",
    ):  # fmt: skip
        assert path in paths


def test_operation_ids_are_the_names_of_functions_of_a_client(document):
    """Each once, in words, whatever its address."""
    ids = [operation["operationId"] for *_, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert [one for one in ids if not re.fullmatch(r"[a-z]+(_[a-z]+)+", one)] == []
    assert {"submit_job", "get_job", "list_jobs", "upload_dataset", "download_artifact"} <= set(ids)


@pytest.mark.parametrize("name", [*EXAMPLES, *EXAMPLES_ON_UPLOADS])
def test_examples_fit_the_schema_they_illustrate(document, name):
    """Checked by a validator that is not ours."""
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    example = body["examples"][name]["value"]
    validator = jsonschema.Draft202012Validator(
        {**body["schema"], "components": document["components"]}
    )
    validator.validate(example)
    subject = "logits" if "logits" in example["params"] else "dataset"
    wrong = {**example, "params": {**example["params"], subject: 3}}
    assert not validator.is_valid(wrong)


def test_answers_fit_their_schemas(shared_api, document):
    """What is sent is what is described."""
    job = shared_api.submit("distill", {"dataset": "digits"})
    upload_logits(shared_api, "described")
    shared_api.check_upload(facts=LOGITS_FACTS)
    for path, template in (
        (f"/v1/jobs/{job['id']}", "/v1/jobs/{job_id}"),
        ("/v1/jobs", "/v1/jobs"),
        (f"/v1/jobs/{job['id']}/events", "/v1/jobs/{job_id}/events"),
        ("/v1/datasets", "/v1/datasets"),
        ("/v1/datasets/digits", "/v1/datasets/{name}"),
        ("/v1/logits", "/v1/logits"),
        ("/v1/logits/described", "/v1/logits/{name}"),
        ("/v1/reports", "/v1/reports"),
        ("/readyz", "/readyz"),
    ):
        responses = document["paths"][template]["get"]["responses"]
        schema = responses["200"]["content"]["application/json"]["schema"]
        validator = jsonschema.Draft202012Validator(
            {**schema, "components": document["components"]}
        )
        validator.validate(shared_api.client.get(path).json())


def test_problems_fit_their_schema(shared_api, document):
    """A refusal too."""
    body = shared_api.client.post("/v1/jobs", json={"kind": "x"}).json()
    schema = {"$ref": "#/components/schemas/ProblemBody", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(body)
    assert re.fullmatch(r"urn:ddcal:problem:[a-z_]+", body["type"])
