"""What an ONNX file may not hold, each refused by name before anything runs it."""

import random
import re
import resource
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.onnx_checks import (
    MAX_NODES,
    MAX_NUMBERS,
    MAX_OPSET,
    MIN_OPSET,
    OnnxFacts,
    fixed_shape,
    inspect_onnx,
    read_onnx,
)
from ddcal_core.formats.onnx_sessions import open_session
from tests.core.formats.onnx_made import linear, onnx_model

WEIGHTS = linear()


def refused(model):
    """The words of a refusal."""
    held = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(InvalidDataError) as caught:
        inspect_onnx(read_onnx(held))
    return str(caught.value)


def changed(change, **how):
    """A model to which something has been done."""
    model = onnx_model(WEIGHTS, **how)
    change(model)
    return model


def with_node(kind, *, domain="", inputs=("logits",), **attributes):
    """A model with one more node between its logits and its answers."""
    model = onnx_model(WEIGHTS, nodes=[("Identity", ["more"], ["answers"], {})])
    node = helper.make_node(kind, list(inputs), ["more"], domain=domain, **attributes)
    model.graph.node.insert(2, node)
    return model


def dropping(*, is_training):
    """A model with a Dropout that says whether it drops."""
    model = with_node("Dropout", inputs=("logits", "", "is_training"))
    said = numpy_helper.from_array(np.array(is_training), "is_training")
    model.graph.initializer.append(said)
    return model


def held_elsewhere(model):
    """Its weights lie in another file."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    place = tensor.external_data.add()
    place.key, place.value = "location", "/etc/passwd"


def nan_in_weights(model):
    """One of them is none."""
    broken = WEIGHTS.copy()
    broken[3, 1] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(broken, "weights"))


def shape_that_lies(model):
    """The weights claim a size that they do not have."""
    model.graph.initializer[0].dims[0] = 1 << 27


def negative_shape(model):
    """Likewise, one that none has."""
    model.graph.initializer[0].dims[0] = -64


def constant_of(array, **changes):
    """A model with a Constant in it."""
    tensor = numpy_helper.from_array(np.asarray(array), "held")
    for name, value in changes.items():
        setattr(tensor, name, value)
    model = onnx_model(WEIGHTS, nodes=[("Add", ["logits", "more"], ["answers"], {})])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["more"], value=tensor))
    return model


def branch():
    """A graph inside a node."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["logits"], ["out"])],
        "then",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )
    return with_node("If", inputs=["yes"], then_branch=inner, else_branch=inner)


def function(model):
    """A function of the file's own."""
    model.functions.append(
        helper.make_function(
            "", "Mine", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], model.opset_import
        )
    )


def another_output(model):
    """Features beside the logits, say."""
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3]))


def another_input(model):
    """Something to be given beside the images."""
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def sparse(model):
    """Weights as places and values."""
    values = numpy_helper.from_array(np.ones(1, np.float32), "values")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [9]))


def unknown_input(model):
    """A node takes what no node gives."""
    model.graph.node[0].input[0] = "nothing"


EXPLODING = onnx_model(
    WEIGHTS,
    nodes=[
        ("ConstantOfShape", ["size"], ["huge"], {}),
        ("ReduceSum", ["huge"], ["sum"], {"keepdims": 0}),
        ("Add", ["logits", "sum"], ["answers"], {}),
    ],
    extra={"size": np.array([1 << 20, 1 << 20], np.int64)},
)
TILED = onnx_model(
    WEIGHTS,
    nodes=[
        ("Tile", ["logits", "times"], ["huge"], {}),
        ("ReduceSum", ["huge", "axis"], ["answers"], {}),
    ],
    extra={"times": np.array([1, 1 << 30], np.int64), "axis": np.array([1], np.int64)},
)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (b"", "none in it"),
        (b"\x08\x08", "none in it"),
        (b"not an ONNX file at all", "cannot be parsed"),
        (onnx_model(WEIGHTS).SerializeToString()[:-20], "cut off"),
        (onnx_model(WEIGHTS, opset=MIN_OPSET - 1), "opset 9 to 25; got 8"),
        (changed(lambda m: setattr(m.opset_import[0], "version", MAX_OPSET + 1)), "got 26"),
        (changed(lambda m: m.opset_import.add(domain="ai.onnx", version=3)), "got 17, 3"),
        (with_node("Gelu", domain="com.microsoft"), "'Gelu' of 'com.microsoft'"),
        (with_node("Steal", domain="mine"), "custom operators"),
        (with_node("Steal"), "opset 17; it has no 'Steal'"),
        (with_node("Upsample"), "it has no 'Upsample'"),
        (branch(), "no control flow; got 'If'"),
        (with_node("Loop", inputs=["", "", "logits"]), "no control flow; got 'Loop'"),
        (with_node("RandomNormalLike"), "'RandomNormalLike', which draws random numbers"),
        (dropping(is_training=True), "got a Dropout in training mode"),
        (with_node("Dropout", inputs=("logits", "", "logits")), "a Dropout in training mode"),
        (changed(function), "no functions in the file; got 1, such as 'Mine'"),
        (changed(lambda m: m.training_info.add()), "training steps"),
        (changed(held_elsewhere), "lie in another (external data)"),
        (changed(nan_in_weights), "weights 'weights': wanted finite numbers"),
        (changed(shape_that_lies), "wanted at most 268,435,456 numbers"),
        (changed(negative_shape), "got the shape [-64, 3]"),
        (changed(lambda m: m.graph.initializer[0].dims.append(2)), "1,536 bytes for the shape"),
        (changed(sparse), "no sparse tensors"),
        (constant_of(np.full(3, np.nan, np.float32)), "'value' of a 'Constant': wanted finite"),
        (constant_of(np.full(3, np.inf, np.float32)), "got NaN or infinities"),
        (constant_of([1.0], data_type=TensorProto.STRING), "8 to 64 bits; got STRING"),
        (constant_of([1.0], data_type=999), "8 to 64 bits; got 999"),
        (changed(another_output), "one output, of the classes; got 1 (images) and 2 (answers"),
        (changed(another_input), "got 2 (images, mask) and 1"),
        (onnx_model(WEIGHTS, input_type=TensorProto.UINT8), "four dimensions; got uint8 (?, 1"),
        (onnx_model(WEIGHTS, input_type=109), "four dimensions; got 109 (?, 1"),
        (onnx_model(WEIGHTS, (8, 8)), "four dimensions; got float (?, 8, 8)"),
        (onnx_model(WEIGHTS, batch=0), "four dimensions; got float (0, 1, 8, 8)"),
        (onnx_model(WEIGHTS, output_type=TensorProto.INT64), "one number per class; got int64"),
        (changed(unknown_input), "wanted a valid graph of ONNX; got: "),
        (EXPLODING, "'huge': wanted at most 268,435,456 numbers at once"),
        (TILED, "'huge': wanted at most 268,435,456 numbers at once"),
    ],
)
def test_each_fault_has_its_words(model, words):
    """And what to do about it, where something can be done."""
    assert words in refused(model)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_taken_or_refused_in_words(seed):
    """Bytes changed, left out or put in between, 200 times: nothing else comes of it."""
    generator = random.Random(seed)
    nodes = [
        ("Relu", ["logits"], ["a"], {}),
        ("Gemm", ["a", "more", "bias"], ["b"], {"transB": 1}),
        ("Reshape", ["b", "shape"], ["answers"], {}),
    ]
    extra = {"more": np.eye(3, dtype=np.float32), "bias": np.zeros(3, np.float32)}
    extra["shape"] = np.array([-1, 3], np.int64)
    whole = onnx_model(WEIGHTS, nodes=nodes, extra=extra).SerializeToString()
    n_refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            at = generator.randrange(len(damaged))
            n_out, n_in = generator.randint(0, 3), generator.randint(0, 3)
            damaged[at : at + n_out] = generator.randbytes(n_in)
        try:
            inspect_onnx(read_onnx(bytes(damaged)))
        except InvalidDataError:
            n_refused += 1
    assert n_refused > 100


def test_what_is_refused_takes_neither_time_nor_memory():
    """A million nodes, a chain of a depth that none has, a shape of gigabytes."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    model = onnx_model(WEIGHTS)
    node = helper.make_node("Relu", ["logits"], ["x"])
    many = onnx.ModelProto()
    many.CopyFrom(model)
    many.graph.node.extend([node] * 1_000_000)
    held = many.SerializeToString()
    del many
    assert f"wanted at most {MAX_NODES:,} nodes; got 1,000,003" in refused(held)
    chain = [("Relu", ["logits"], ["x0"], {})]
    chain += [("Relu", [f"x{k}"], [f"x{k + 1}"], {}) for k in range(MAX_NODES - 4)]
    chain.append(("Identity", [chain[-1][2][0]], ["answers"], {}))
    assert inspect_onnx(onnx_model(WEIGHTS, nodes=chain)).n_outputs == 3
    assert time.process_time() - started < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_what_is_taken_is_told():
    """Ends, sizes as the file has them, opset; numbers that are not raw; weights as inputs."""
    model = onnx_model(WEIGHTS, ("channels", "h", 8), batch=2)
    weights = helper.make_tensor("weights", TensorProto.FLOAT, WEIGHTS.shape, WEIGHTS.ravel())
    model.graph.initializer[0].CopyFrom(weights)
    model.graph.input.append(
        helper.make_tensor_value_info("weights", TensorProto.FLOAT, WEIGHTS.shape)
    )
    # Of this input a skeleton of 3 x 512 x 8 pixels is no product with 64 rows: no size is known.
    model.graph.node[0].CopyFrom(helper.make_node("Reshape", ["images", "flat_shape"], ["flat"]))
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([-1, 64], np.int64), "flat_shape")
    )
    assert inspect_onnx(read_onnx(model.SerializeToString())) == OnnxFacts(
        input_name="images",
        output_name="answers",
        input_sizes=(2, None, None, 8),
        n_outputs=3,
        opset=17,
    )


@pytest.mark.parametrize("is_raw", [True, False])
def test_a_dropout_that_is_off_is_taken(is_raw):
    """Said by nothing, by a weight, or by a Constant, in either form."""
    assert inspect_onnx(with_node("Dropout"))
    model = dropping(is_training=False)
    assert inspect_onnx(model)
    value = model.graph.initializer.pop()
    if not is_raw:
        value = helper.make_tensor("is_training", TensorProto.BOOL, (), [False])
    node = helper.make_node("Constant", [], ["is_training"], value=value)
    model.graph.node.insert(0, node)
    assert inspect_onnx(model)


@pytest.mark.parametrize("opset", [MIN_OPSET, 13, 18, MAX_OPSET])
def test_every_opset_that_is_taken_can_be_run(opset):
    """By the ONNX Runtime that is installed."""
    held = onnx_model(WEIGHTS, opset=opset).SerializeToString()
    inspect_onnx(read_onnx(held))
    images = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    (answers,) = open_session(held, n_threads=1).run(None, {"images": images})
    np.testing.assert_allclose(answers, images.reshape(2, 64) @ WEIGHTS, atol=1e-4)


@pytest.mark.parametrize(
    ("sizes", "asked", "wanted"),
    [
        ((None, 1, 8, 8), {}, ((1, 8, 8), None)),
        ((None, None, None, None), {}, ((1, 8, 8), None)),
        ((16, 3, None, None), {"side": 224}, ((3, 224, 224), 16)),
        ((1, 32, 24, 3), {"layout": "nhwc"}, ((3, 32, 24), 1)),
        ((None, 8, 8, 3), {}, "(?, 8, 8, 3): its channels seem to lie elsewhere (layout=nhwc)"),
        ((None, 3, 8, 8), {"layout": "nhwc"}, "elsewhere (layout=nchw)"),
        ((None, 4, 8, 8), {}, "1 or 3 channels, NCHW; the input is (?, 4, 8, 8)"),
        ((None, 3, 8, 8), {"side": 16}, "side: wanted 8, the height that the network is fixed to"),
        ((None, 3, 2048, 2048), {}, "4 to 512 pixels a side"),
        ((512, 3, 8, 8), {}, "at most 256 at once"),
        ((None, 1, 8, 8), {"image_shape": (3, 8, 8)}, "upload the data set with colour=grey"),
    ],
)
def test_what_it_reads_follows_from_the_graph_and_what_is_declared(sizes, asked, wanted):
    """Channels, height and width; refused where the two disagree."""
    facts = OnnxFacts(input_name="x", output_name="y", input_sizes=sizes, n_outputs=3, opset=17)
    how = {"layout": "nchw", "side": None, "image_shape": (1, 8, 8)} | asked
    if isinstance(wanted, tuple):
        assert fixed_shape(facts, **how) == wanted
        return
    with pytest.raises(InvalidDataError, match=re.escape(wanted)):
        fixed_shape(facts, **how)


def test_a_file_that_is_too_large_is_not_parsed(monkeypatch):
    """By its size alone."""
    monkeypatch.setattr("ddcal_core.formats.onnx_checks.MAX_FILE_BYTES", 10)
    assert "at most 10 bytes; got 11" in refused(b"\x08" * 11)
    assert MAX_NUMBERS == 1 << 28
