import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.submission.examples import EXAMPLES, EXAMPLES_ON_UPLOADS
from tests.api.serving import problem

NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, 10**400, 0.5, 1e308, -0.0])
TEXTS = st.text(max_size=80) | st.sampled_from(["digits", "ts", "full", "job_" + "0" * 26])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)

PARAMETERS = [
    "after",
    "limit",
    "page_size",
    "page_token",
    "state",
    "parent",
    "kind",
    "q",
    "tag",
    "created_after",
    "created_before",
    "sort",
    "mask_ratio",
    "method",
    "max_ece",
]


def places(node, path=()):
    """Every place in a document."""
    yield path
    items = (
        node.items() if isinstance(node, dict) else enumerate(node if type(node) is list else [])
    )
    for key, value in items:
        yield from places(value, (*path, key))


@st.composite
def damaged_examples(draw):
    """A good submission with one place replaced, or one unknown field put in."""
    examples = {**EXAMPLES, **EXAMPLES_ON_UPLOADS}
    document = copy.deepcopy(examples[draw(st.sampled_from(sorted(examples)))]["value"])
    *above, last = draw(st.sampled_from([path for path in places(document) if path]))
    node = document
    for key in above:
        node = node[key]
    node[draw(TEXTS) if isinstance(node, dict) and draw(st.booleans()) else last] = draw(VALUES)
    return document


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=damaged_examples())
def test_no_submission_breaks_the_service(shared_api, document):
    """Whatever is sent is accepted or refused with a pointer that leads into it."""
    answer = shared_api.client.post("/v1/jobs", json=document)
    if answer.status_code == 202:
        return
    body = problem(answer, 422)
    assert body["errors"]
    for one in body["errors"]:
        assert one["pointer"] == "" or one["pointer"].startswith("/")


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_break_the_service(shared_api, body):
    """Whatever the bytes are."""
    headers = {"Content-Type": "application/json"}
    answer = shared_api.client.post("/v1/jobs", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(PARAMETERS),
    value=TEXTS | NUMBERS.map(str),
    path=st.sampled_from(["/v1/jobs", "/v1/models", "/v1/datasets"]),
)
def test_no_parameter_breaks_the_service(shared_api, name, value, path):
    """Parameters of every kind in every place."""
    answer = shared_api.client.get(path, params={name: value})
    assert answer.status_code in (200, 400, 422)
    if answer.status_code != 200:
        problem(answer, answer.status_code)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(change=st.dictionaries(st.sampled_from(["name", "tags", "notes"]) | TEXTS, VALUES))
def test_no_change_breaks_the_service(shared_api, change):
    """Whatever is said of a job is taken, shown as it was said and found, or refused in words."""
    job = shared_api.submit("distill", {"dataset": "digits"})["id"]
    answer = shared_api.client.patch(f"/v1/jobs/{job}", json=change)
    if answer.status_code != 200:
        assert problem(answer, 422)["errors"]
        return
    body = answer.json()
    assert body["name"] == change.get("name")
    assert body["notes"] == change.get("notes")
    for key, value in body["tags"].items():
        params = {"tag": f"{key}:{value}"}
        found = shared_api.client.get("/v1/jobs", params=params).json()["items"]
        assert job in [one["id"] for one in found]
