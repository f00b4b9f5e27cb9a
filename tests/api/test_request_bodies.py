import json

import pytest

from app.api.http.request_bodies import read_json, validated
from app.shared.errors import InvalidRequestError, MalformedRequestError
from app.submission.pointers import brief, json_pointer
from ddcal_core.specs.kinds.pipeline import PipelineParams

PARAMS = {"dataset": "digits", "calibrate": [{"method": "none"}]}


def found(call, *arguments):
    """(pointer, code) of each problem a call raises."""
    with pytest.raises(InvalidRequestError) as caught:
        call(*arguments)
    return [(one.pointer, one.code) for one in caught.value.problems]


@pytest.mark.parametrize(
    "document", [{"a": [1, -0.5, "é", None, True, {}]}, [], "text", 0, None, {"": {"/": "~"}}]
)
def test_ordinary_json_is_read_as_it_is(document):
    """What the standard library writes comes back equal."""
    assert read_json(json.dumps(document).encode()) == document


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b"\xef\xbb\xbf" * 2 + b"{}", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"[" * 100_000, "nested deeper"),
        (b"[" * 40 + b"]" * 40, "nested deeper"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper"),
        (b"1" * 5_000, "too many digits"),
    ],
)
def test_what_is_no_plain_json_is_malformed(body, words):
    """Broken, foreign or endless documents are refused before anything looks at them."""
    with pytest.raises(MalformedRequestError, match=words):
        read_json(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": NaN}', [("/a", "not_finite")]),
        (b'{"a": [0, Infinity, -Infinity]}', [("/a/1", "not_finite"), ("/a/2", "not_finite")]),
        (b'{"a": {"b": 1e400}}', [("/a/b", "not_finite")]),
        (b'{"a": 1, "a": 2}', [("/a", "duplicate_name")]),
        (b'[{"a": 1, "b": {"a": 2, "a": 2}}]', [("/0/b/a", "duplicate_name")]),
        (b'{"a": "\\ud800"}', [("/a", "unstorable_text")]),
        (b'{"a": "\\u0000"}', [("/a", "unstorable_text")]),
        (b'{"\\u0000": 1}', [("", "unstorable_text")]),
        (b'{"a/b": {"~": NaN}}', [("/a~1b/~0", "not_finite")]),
    ],
)
def test_ambiguous_values_are_pointed_at(body, expected):
    """What other readers let through, or trip over later, is refused with its place."""
    assert found(read_json, body) == expected


def test_a_whole_pair_of_surrogates_is_a_character():
    """An escaped character beyond the basic plane is ordinary text."""
    assert read_json(b'"\\ud83d\\ude00"') == "😀"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"distill": {"mask": {"ratio": 1.0}}}, [("/params/distill/mask/ratio", "out_of_range")]),
        (
            {"distill": {"mask": {"ratio": -0.1}}},
            [("/params/distill/mask/ratio", "out_of_range")],
        ),
        (
            {"distill": {"images_per_class": True}},
            [("/params/distill/images_per_class", "wrong_type")],
        ),
        (
            {"distill": {"images_per_class": "1"}},
            [("/params/distill/images_per_class", "wrong_type")],
        ),
        (
            {"distill": {"images_per_class": 1.0}},
            [("/params/distill/images_per_class", "wrong_type")],
        ),
        ({"distill": {"lr": 10**400}}, [("/params/distill/lr", "wrong_type")]),
        ({"ipc": 3}, [("/params/ipc", "unknown_field")]),
        ({"distill": {"dm": 3}}, [("/params/distill/dm", "unknown_field")]),
        ({"calibrate": []}, [("/params/calibrate", "wrong_length")]),
        ({"calibrate": [{"method": "tss"}]}, [("/params/calibrate/0/method", "unknown_value")]),
        ({"calibrate": [{}]}, [("/params/calibrate/0/method", "missing_field")]),
        (
            {"calibrate": [{"method": "none"}, {"method": "mts", "mask": {"ratio": 2}, "mts": 1}]},
            [
                ("/params/calibrate/1/mask/ratio", "out_of_range"),
                ("/params/calibrate/1/mts", "unknown_field"),
            ],
        ),
        (
            {"baselines": [{"source": "full", "epochs": 0}]},
            [("/params/baselines/0/epochs", "out_of_range")],
        ),
        (
            {"train": {"loss": {"name": "mixup", "alpha": 0}}},
            [("/params/train/loss/alpha", "out_of_range")],
        ),
        (
            {"train": {"regulariser": {"name": "cutout", "side": 1.0}}},
            [("/params/train/regulariser/side", "out_of_range")],
        ),
        (
            {"distill": {"regulariser": {"name": "input_dropout", "rate": 0}}},
            [("/params/distill/regulariser/rate", "out_of_range")],
        ),
        (
            {"distill": {"regulariser": {"name": "cutmix", "side": 0.5}}},
            [("/params/distill/regulariser/side", "unknown_field")],
        ),
        (
            {"train": {"regulariser": {"name": "cutmax"}}},
            [("/params/train/regulariser/name", "unknown_value")],
        ),
        (
            {"train": {"loss": {"name": "mixup"}, "regulariser": {"name": "cutmix"}}},
            [("/params/train", "invalid_value")],
        ),
        (
            {"train_losses": [{"name": "mixup"}], "train": {"regulariser": {"name": "mixup"}}},
            [("/params", "invalid_value")],
        ),
        (
            {"train": {"loss": {"name": "hinge"}}},
            [("/params/train/loss/name", "unknown_value")],
        ),
        ({"dataset": "../etc/passwd"}, [("/params/dataset", "wrong_form")]),
    ],
)
def test_pointers_name_places_in_the_body(change, expected):
    """Pointers have no trace of how the models tell their kinds apart."""
    assert found(validated, PipelineParams, PARAMS | change, ("params",)) == expected


def test_a_missing_field_is_pointed_at():
    """The place of a missing field is where it should stand."""
    assert found(validated, PipelineParams, {}, ("params",)) == [
        ("/params/dataset", "missing_field")
    ]


def test_messages_say_what_was_wanted_and_got():
    """Both halves stand in the message."""
    with pytest.raises(InvalidRequestError, match=r"wanted less than 1, got 1\.5"):
        validated(PipelineParams, PARAMS | {"distill": {"mask": {"ratio": 1.5}}})


def test_messages_never_repeat_a_long_value():
    """A value of any size is shown by a few characters."""
    with pytest.raises(InvalidRequestError) as caught:
        validated(PipelineParams, PARAMS | {"dataset": "x" * 10_000, "y" * 10_000: 1})
    assert len(str(caught.value.problems)) < 1_000


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("a", '"a"'),
        ([1, 2], "a list of 2"),
        ({"secret": 1}, "an object"),
        (10**50, "a number too large to show"),
    ],
)
def test_brief_shows_scalars_and_sizes(value, words):
    """Only scalars are shown as they are."""
    assert brief(value) == words


def test_pointers_are_escaped():
    """RFC 6901: ~ is ~0 and / is ~1."""
    assert json_pointer(("a/b", 0, "~")) == "/a~1b/0/~0"
