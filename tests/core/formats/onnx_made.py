"""Small ONNX networks, made node by node."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def linear(n_classes=3, shape=(1, 8, 8), *, seed=0, weights=None):
    """The weights of a linear network, float32 (D, K), from N(0, 1) unless given."""
    if weights is not None:
        return np.asarray(weights, np.float32)
    size = (int(np.prod(shape)), n_classes)
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def onnx_model(
    weights,
    shape=(1, 8, 8),
    *,
    batch="N",
    nodes=None,
    extra=(),
    opset=OPSET,
    output_type=TensorProto.FLOAT,
    input_type=TensorProto.FLOAT,
    n_outputs=None,
):
    """A model: flatten, times the weights (D, K), and further nodes, from "logits" to "answers"."""
    last = [("Identity", ["logits"], ["answers"], {})] if nodes is None else nodes
    steps = [
        ("Flatten", ["images"], ["flat"], {"axis": 1}),
        ("MatMul", ["flat", "weights"], ["logits"], {}),
        *last,
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **attributes) for kind, ins, outs, attributes in steps],
        "linear",
        [helper.make_tensor_value_info("images", input_type, [batch, *shape])],
        [
            helper.make_tensor_value_info(
                "answers", output_type, [batch, n_outputs or weights.shape[1]]
            )
        ],
        [
            numpy_helper.from_array(weights, "weights"),
            *(
                numpy_helper.from_array(np.asarray(value), name)
                for name, value in dict(extra).items()
            ),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
