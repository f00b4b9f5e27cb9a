"""What kind of file an uploaded network is (standard library); what it holds is a trainer's."""

from pathlib import Path

from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.foreign_networks import AnyNetwork, NetworkFileFormat, is_onnx

# ir_version, the first field of every ONNX file, as a varint.
_ONNX_START = b"\x08"


def inspect_network(path: Path, network: AnyNetwork) -> NetworkFileFormat:
    """Tell by its first bytes whether a file can be what it is said to be.

    Args:
        path: the file; its name is not looked at.
        network: what it is to hold.

    Raises:
        InvalidDataError: it is something else; says what it looks like, and what to do.
    """
    with path.open("rb") as file:
        start = file.read(16)
    wanted: NetworkFileFormat = "onnx" if is_onnx(network) else "safetensors"
    found = _kind(start)
    if found != wanted:
        name = network.described()["name"]
        what = "an ONNX file" if wanted == "onnx" else f"safetensors with the parameters of {name}"
        raise InvalidDataError(f"wanted {what}; got {_hint(found, start)}")
    return wanted


def _kind(start: bytes) -> str:
    # First: a safetensors file starts with any eight bytes, the others have no brace there.
    if start[8:9] == b"{":
        return "safetensors"
    if start[:1] == _ONNX_START:
        return "onnx"
    return "torch" if start[:2] == b"PK" or start[:1] == b"\x80" else "other"


def _hint(found: str, start: bytes) -> str:
    match found:
        case "onnx":
            return "an ONNX file (architecture=onnx)"
        case "safetensors":
            return "safetensors: say which network they are of (architecture)"
        case "torch":
            return (
                "a zip or a pickle, as torch.save writes, in which nothing is ever executed here: "
                "save it with safetensors.torch.save_file(network.state_dict(), ...) or "
                "torch.onnx.export"
            )
        case _:
            return f"a file that starts with {start[:8]!r}" if start else "an empty file"
