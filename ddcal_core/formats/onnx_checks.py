"""What an ONNX file may hold: looked at before anything runs it, and refused in words.

A network for images needs no loops, no random numbers, no operators of somebody's own and no other
files. Without them a graph is a fixed list of steps whose sizes are known beforehand.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, numpy_helper

from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.foreign_networks import MAX_SIDE, MIN_SIDE

MAX_FILE_BYTES = 1 << 30
MAX_NODES = 20_000
MAX_NUMBERS = 1 << 28
"""Of one tensor, for one image: 1 GiB of float32."""
MAX_BATCH = 256
MIN_OPSET, MAX_OPSET = 9, 25

_STANDARD = ("", "ai.onnx")
_CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial"}
    | {f"Random{kind}{like}" for kind in ("Normal", "Uniform") for like in ("", "Like")}
)
_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
_SMALL = 4_096  # numbers that may say a shape; more are weights
_DATA_FIELDS: Mapping[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    **dict.fromkeys(
        (
            *(TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT16, TensorProto.INT8),
            *(TensorProto.UINT16, TensorProto.UINT8, TensorProto.BOOL),
        ),
        "int32_data",
    ),
}
"""The types of numbers that are taken, and where a tensor holds those that are not raw."""

Size = int | None
"""Of a dimension; None where the file leaves it open."""


@dataclass(frozen=True, kw_only=True)
class OnnxFacts:
    """What is known of a network from its graph.

    Attributes:
        input_name: of its one input, float32 of four dimensions.
        output_name: of its one output, of two.
        input_sizes: of the input's dimensions, as the file orders them.
        n_outputs: of the output's second.
        opset: version of its operators.
    """

    input_name: str
    output_name: str
    input_sizes: tuple[Size, Size, Size, Size]
    n_outputs: Size
    opset: int


def read_onnx(held: bytes) -> onnx.ModelProto:
    """Parse an ONNX file whose graph has been looked at by none.

    Raises:
        InvalidDataError: it is none, or too large.
    """
    if len(held) > MAX_FILE_BYTES:
        raise InvalidDataError(
            f"wanted an ONNX file of at most {MAX_FILE_BYTES:,} bytes; got {len(held):,}"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(held)
    except DecodeError as error:
        raise InvalidDataError(
            f"wanted a whole ONNX file; got one that cannot be parsed ({error}): is it cut off?"
        ) from error
    if not model.ir_version or not model.graph.node:
        raise InvalidDataError("wanted an ONNX file with a graph; got none in it")
    return model


def inspect_onnx(model: onnx.ModelProto) -> OnnxFacts:
    """Look at all that a graph holds.

    Args:
        model: as parsed.

    Raises:
        InvalidDataError: something in it is not taken; says what, and what to do.
    """
    n_nodes = len(model.graph.node)
    if n_nodes > MAX_NODES:
        raise InvalidDataError(f"wanted at most {MAX_NODES:,} nodes; got {n_nodes:,}")
    _check_names(model.graph)
    opset = _opset(model)
    _check_nodes(model, opset)
    tensors = [*_tensors(model)]
    for where, tensor in tensors:
        _check_tensor(where, tensor)
    facts = _ends(model, opset)
    _check_graph(model, facts)
    return facts


def _opset(model: onnx.ModelProto) -> int:
    versions = [one.version for one in model.opset_import if one.domain in _STANDARD]
    if len(versions) != 1 or not MIN_OPSET <= versions[0] <= MAX_OPSET:
        raise InvalidDataError(
            f"wanted operators of ONNX's opset {MIN_OPSET} to {MAX_OPSET}; got "
            f"{', '.join(map(str, versions)) or 'none'}: export with another opset_version"
        )
    return int(versions[0])


def _check_names(graph: onnx.GraphProto) -> None:
    """Are all names text? Others are given as bytes, whatever the types say."""
    named = (*graph.initializer, *graph.input, *graph.output)
    of_nodes = (
        (node.op_type, node.domain, node.name, *node.input, *node.output) for node in graph.node
    )
    for name in chain((one.name for one in named), chain.from_iterable(of_nodes)):
        if not isinstance(name, str):
            raise InvalidDataError(f"wanted names that are text (UTF-8); got {name[:40]!r}")


def _check_nodes(model: onnx.ModelProto, opset: int) -> None:
    if model.functions:
        raise InvalidDataError(
            f"wanted no functions in the file; got {len(model.functions)}, such as "
            f"{model.functions[0].name!r}: inline them (onnx.inliner.inline_local_functions)"
        )
    if model.training_info:
        raise InvalidDataError("wanted a network to be asked; got one with training steps in it")
    for node in model.graph.node:
        kind = node.op_type
        if node.domain not in _STANDARD:
            raise InvalidDataError(
                f"wanted operators of ONNX alone; got {kind!r} of {node.domain!r}, which nobody "
                "else knows: export without custom operators"
            )
        if kind in _CONTROL_FLOW or any(one.type in _GRAPHS for one in node.attribute):
            raise InvalidDataError(
                f"wanted no control flow; got {kind!r}: export a network without branches and "
                "loops, or simplify the graph (onnxsim)"
            )
        if kind in _RANDOM:
            raise InvalidDataError(
                f"wanted the same answers each time; got {kind!r}, which draws random numbers: "
                "export in evaluation mode"
            )
        if kind == "Dropout" and not _is_off(model.graph, node):
            raise InvalidDataError(
                "wanted the same answers each time; got a Dropout in training mode, which some "
                "runtimes pass over and others follow: export in evaluation mode"
            )
        _check_operator(kind, opset)


def _is_off(graph: onnx.GraphProto, dropout: onnx.NodeProto) -> bool:
    """Is its training mode, the third input, left out or a false that stands in the file?"""
    name = dropout.input[2] if len(dropout.input) > 2 else ""
    held = [one for one in graph.initializer if one.name == name]
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            held += [one.t for one in node.attribute if one.name == "value"]
    said = [one.raw_data or bytes(map(bool, one.int32_data)) for one in held]
    return not name or said == [b"\0"]


def _check_operator(kind: str, opset: int) -> None:
    try:
        is_gone = onnx.defs.get_schema(kind, opset, "").deprecated
    except onnx.defs.SchemaError:
        is_gone = True
    if is_gone:
        raise InvalidDataError(f"wanted operators of ONNX's opset {opset}; it has no {kind[:80]!r}")


def _tensors(model: onnx.ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Every tensor in the file, and whose it is.

    Raises:
        InvalidDataError: one is sparse.
    """
    if model.graph.sparse_initializer:
        raise InvalidDataError("wanted no sparse tensors; got some among the weights")
    for one in model.graph.initializer:
        yield f"weights {one.name!r}", one
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise InvalidDataError(f"wanted no sparse tensors; got one in {node.op_type!r}")
            held = (*((attribute.t,) if attribute.HasField("t") else ()), *attribute.tensors)
            yield from ((f"{attribute.name!r} of a {node.op_type!r}", one) for one in held)


def _check_tensor(where: str, tensor: TensorProto) -> None:
    if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
        raise InvalidDataError(
            f"{where}: wanted numbers in the file; got ones that lie in another (external data): "
            "save it in one, as torch.onnx.export(..., external_data=False) and "
            "onnx.save_model(onnx.load(...), ...) do"
        )
    if tensor.data_type not in _DATA_FIELDS:
        raise InvalidDataError(
            f"{where}: wanted numbers of 8 to 64 bits; got {_type_name(tensor.data_type)}"
        )
    n_numbers = math.prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or n_numbers > MAX_NUMBERS:
        raise InvalidDataError(
            f"{where}: wanted at most {MAX_NUMBERS:,} numbers; got the shape {[*tensor.dims][:8]}"
        )
    _check_numbers(where, tensor, n_numbers)


def _type_name(number: int) -> str:
    names = {value: name for name, value in TensorProto.DataType.items()}
    return str(names.get(number, number))


def _check_numbers(where: str, tensor: TensorProto, n_numbers: int) -> None:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if tensor.HasField("raw_data"):
        wanted, got, unit = n_numbers * dtype.itemsize, len(tensor.raw_data), "bytes"
    else:
        held = getattr(tensor, _DATA_FIELDS[tensor.data_type])
        wanted, got, unit = n_numbers, len(held), "numbers"
    if got != wanted:
        raise InvalidDataError(
            f"{where}: wanted {wanted:,} {unit} for the shape {[*tensor.dims][:8]}; got {got:,}"
        )
    if dtype.kind != "f" or n_numbers == 0:
        return
    numbers = numpy_helper.to_array(tensor)
    # A single infinity may be the end of a range, many are weights that have blown up.
    if np.isnan(numbers).any() or (n_numbers > 1 and np.isinf(numbers).any()):
        raise InvalidDataError(f"{where}: wanted finite numbers; got NaN or infinities")


def _ends(model: onnx.ModelProto, opset: int) -> OnnxFacts:
    graph = model.graph
    weights = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        names = " and ".join(
            f"{len(ends)} ({', '.join(one.name[:40] for one in ends[:5])})" if ends else "none"
            for ends in (inputs, graph.output)
        )
        raise InvalidDataError(
            f"wanted one input, the images, and one output, of the classes; got {names}: export "
            "the network alone"
        )
    sizes = _sizes(inputs[0], wanted="images, float32 of four dimensions", rank=4)
    n_outputs = _sizes(graph.output[0], wanted="float32 (N, K), one number per class", rank=2)[1]
    return OnnxFacts(
        input_name=inputs[0].name,
        output_name=graph.output[0].name,
        input_sizes=(sizes[0], sizes[1], sizes[2], sizes[3]),
        n_outputs=n_outputs,
        opset=opset,
    )


def _sizes(end: onnx.ValueInfoProto, *, wanted: str, rank: int) -> list[Size]:
    tensor = end.type.tensor_type
    sizes = [one.dim_value if one.HasField("dim_value") else None for one in tensor.shape.dim]
    is_sized = all(size is None or size > 0 for size in sizes)
    if tensor.elem_type != TensorProto.FLOAT or len(sizes) != rank or not is_sized:
        name = _type_name(tensor.elem_type).lower()
        shape = ", ".join("?" if one is None else str(one) for one in sizes)
        raise InvalidDataError(f"{end.name[:40]!r}: wanted {wanted}; got {name} ({shape})")
    return sizes


def _check_graph(model: onnx.ModelProto, facts: OnnxFacts) -> None:
    """Look at how the graph is joined, and at the size of all that it computes for one image."""
    skeleton = _skeleton(model, facts)
    try:
        onnx.checker.check_model(skeleton)
        inferred = onnx.shape_inference.infer_shapes(skeleton, check_type=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        words = " ".join(str(error).split())
        raise InvalidDataError(f"wanted a valid graph of ONNX; got: {words[:300]}") from error
    except UnicodeDecodeError as error:
        raise InvalidDataError(
            f"wanted names that are text (UTF-8); got {error.object!r}"
        ) from error
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        sizes = [one.dim_value for one in value.type.tensor_type.shape.dim if one.dim_value]
        if math.prod(sizes) > MAX_NUMBERS:
            raise InvalidDataError(
                f"{value.name[:80]!r}: wanted at most {MAX_NUMBERS:,} numbers at once; the graph "
                f"computes the shape {sizes[:8]} for one image"
            )


def _skeleton(model: onnx.ModelProto, facts: OnnxFacts) -> onnx.ModelProto:
    """The graph without its weights, which become inputs of their shape, for one image."""
    copied = onnx.ModelProto()
    copied.ir_version = max(model.ir_version, 4)  # before it, all weights are inputs as well
    copied.opset_import.extend(model.opset_import)
    graph = copied.graph
    graph.name = "graph"
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    small = [one for one in model.graph.initializer if math.prod(one.dims) <= _SMALL]
    graph.initializer.extend(small)
    sizes = [size or default for size, default in zip(facts.input_sizes, (1, 3, MAX_SIDE, MAX_SIDE),
                                                      strict=True)]  # fmt: skip
    described = [
        onnx.helper.make_tensor_value_info(facts.input_name, TensorProto.FLOAT, sizes),
        *(
            onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims)
            for one in model.graph.initializer
            if math.prod(one.dims) > _SMALL
        ),
    ]
    graph.input.extend(described)
    return copied


def fixed_shape(
    facts: OnnxFacts, *, layout: str, side: int | None, image_shape: tuple[int, int, int]
) -> tuple[tuple[int, int, int], int | None]:
    """Give the images (C, H, W) that a network reads, and how many at once if that is fixed.

    Args:
        facts: of its graph.
        layout: as declared.
        side: likewise; None where it was not.
        image_shape: (C, H, W) of the data set.

    Raises:
        InvalidDataError: what was declared is not what the graph has.
    """
    batch, *sizes = facts.input_sizes
    channels, height, width = (sizes[0], sizes[1], sizes[2])
    if layout == "nhwc":
        channels, height, width = (sizes[2], sizes[0], sizes[1])
    shown = "(" + ", ".join("?" if one is None else str(one) for one in facts.input_sizes) + ")"
    if channels not in (None, 1, 3):
        last = facts.input_sizes[3] if layout == "nchw" else facts.input_sizes[1]
        other = "nhwc" if layout == "nchw" else "nchw"
        hint = f": its channels seem to lie elsewhere (layout={other})" if last in (1, 3) else ""
        raise InvalidDataError(
            f"wanted images of 1 or 3 channels, {layout.upper()}; the input is {shown}{hint}"
        )
    for name, size in (("height", height), ("width", width)):
        if size is not None and side is not None and size != side:
            raise InvalidDataError(
                f"side: wanted {size}, the {name} that the network is fixed to; got {side}"
            )
        if size is not None and not MIN_SIDE <= size <= MAX_SIDE:
            raise InvalidDataError(
                f"wanted a network that reads {MIN_SIDE} to {MAX_SIDE} pixels a side; the input is "
                f"{shown}"
            )
    if batch is not None and batch > MAX_BATCH:
        raise InvalidDataError(
            f"wanted a network of any number of images, or of at most {MAX_BATCH} at once; the "
            f"input is {shown}"
        )
    n_channels, own_height, own_width = image_shape
    if channels == 1 and n_channels == 3:
        raise InvalidDataError(
            f"wanted a network for images in colour, as the data set has; the input is {shown}, of "
            "grey ones: upload the data set with colour=grey"
        )
    shape = (channels or n_channels, height or side or own_height, width or side or own_width)
    return shape, batch
