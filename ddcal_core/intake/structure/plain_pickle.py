"""Pickles of tensors, arrays and numbers, read without running anything (standard library only).

A pickle is a program. Here its instructions are followed by hand: those that build numbers, text,
lists, dicts and descriptions of tensors are known, each by name; whatever else it asks for is
refused. No object is made, no module imported.

Source: pickletools of Python for the instructions; torch.serialization and numpy for what the
files of PyTorch 1.0 and later, and numpy's numbers and arrays, are built of.
"""

import io
import math
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.pickled_values import (
    NUMBERS,
    Named,
    NumberKind,
    PlainArray,
    Storage,
    TensorPlace,
    array_of_bytes,
    count,
    fill_array,
    new_array,
)

MAX_PICKLE_BYTES = 4 * 2**20

STORAGES: Mapping[str, str] = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "|i1",
    "torch.ByteStorage": "|u1",
}
"""What holds a tensor's numbers -> its dtype, as numpy writes it."""

_MAX_MADE_BYTES = 2**28
_LATIN = ("latin1", "latin-1")


_MARK = object()


def read_plain_pickle(stream: BinaryIO) -> object:
    """Follow a pickle up to its end.

    Args:
        stream: at the pickle's start; left behind its end.

    Returns:
        Numbers, text, bytes, None, lists, tuples, dicts by text or number, `TensorPlace`s and
        `PlainArray`s.

    Raises:
        InvalidDataError: it is no whole pickle, or asks for anything else.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.follow(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        # pickletools tells of broken bytes by a ValueError; an empty stack is an IndexError.
        raise InvalidDataError(f"wanted a whole pickle; it is broken: {error}") from error
    raise InvalidDataError("wanted a whole pickle; it ends early")


def read_pickle_bytes(data: bytes) -> object:
    """Follow a pickle that lies in memory, nothing behind it; else as `read_plain_pickle`."""
    return read_plain_pickle(io.BytesIO(data))


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    n_made: int = 0

    def follow(self, name: str, argument: object) -> None:
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _MADE:
            self.stack.append(_MADE[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise InvalidDataError(
                f"wanted a pickle of tensors, arrays, numbers and text; it has the instruction "
                f"{name}, which they do not need, and nothing is ever executed"
            )

    def marked(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        taken = self.stack[place + 1 :]
        del self.stack[place:]
        return taken

    def put(self, place: object) -> None:
        self.memo[place if isinstance(place, int) else len(self.memo)] = self.stack[-1]

    def recall(self, place: object) -> None:
        if not isinstance(place, int):
            raise TypeError("a place in the memo that is no number")
        self.stack.append(self.memo[place])

    def take(self, n: int) -> tuple[Any, ...]:
        if n > len(self.stack):
            raise ValueError("too little on the stack")
        taken = tuple(self.stack[len(self.stack) - n :])
        del self.stack[len(self.stack) - n :]
        return taken

    def append(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("appends to what is no list")
        self.stack[-1].extend(values)

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise TypeError("sets items of what is no dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | int | float):
                raise TypeError("a dict's key is neither text nor number")
            target[key] = value

    def call(self) -> None:
        function, arguments = self.take(2)
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise TypeError("calls what is no function")
        made = _CALLS[function.name](arguments)
        self._count_made(made)
        self.stack.append(made)

    def _count_made(self, made: object) -> None:
        """Text in the memo can be made bytes of again and again."""
        data = made.data if isinstance(made, PlainArray) else made
        self.n_made += len(data) if isinstance(data, bytes) else 0
        if self.n_made > _MAX_MADE_BYTES:
            raise InvalidDataError(
                f"wanted a pickle that makes at most {_MAX_MADE_BYTES:,} bytes; it makes more"
            )

    def build(self) -> None:
        """Set the state of an array, or of a number's dtype: its byte order, and else nothing."""
        (state,) = self.take(1)
        if isinstance(self.stack[-1], PlainArray):
            fill_array(self.stack[-1], state)
            self._count_made(self.stack[-1])
            return
        if not isinstance(self.stack[-1], NumberKind) or state[1] not in ("<", "|"):
            raise InvalidDataError(
                "wanted a pickle of tensors, arrays and little-endian numbers; it sets the state "
                "of something else"
            )

    def persistent(self) -> None:
        (described,) = self.take(1)
        word, kind, key, _, size, *view = described
        if word != "storage" or not isinstance(kind, Named) or any(view):
            raise TypeError("a tensor without numbers of its own")
        if kind.name not in STORAGES:
            raise InvalidDataError(
                f"wanted tensors of {', '.join(STORAGES)}; got {kind.name}: convert them first, "
                "for example by .float()"
            )
        self.stack.append(Storage(STORAGES[kind.name], _text(key), count(size)))


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 255:
        raise TypeError("a key that is no short text")
    return value


def _tensor(arguments: tuple[Any, ...]) -> TensorPlace:
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage) or len(shape) != len(strides) or len(shape) > 4:
        raise InvalidDataError("wanted tensors of at most 4 dimensions")
    shape, strides = tuple(map(count, shape)), tuple(map(count, strides))
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            raise InvalidDataError(
                f"wanted tensors that lie in one piece; one of shape {shape} has strides "
                f"{strides}: save it as .contiguous()"
            )
        step *= size
    if count(offset) + math.prod(shape) > storage.size:
        raise InvalidDataError(
            f"wanted a tensor within its storage of {storage.size:,} numbers; one of shape {shape} "
            f"starts at {offset:,}"
        )
    return TensorPlace(storage, offset, shape)


def _parameter(arguments: tuple[Any, ...]) -> TensorPlace:
    if not isinstance(arguments[0], TensorPlace):
        raise TypeError("a parameter that is no tensor")
    return arguments[0]


def _number_kind(arguments: tuple[Any, ...]) -> NumberKind:
    name = arguments[0]
    if name not in NUMBERS:
        raise InvalidDataError(f"wanted plain numbers of numpy; got dtype {str(name)[:20]!r}")
    return NumberKind(name)


def _number(arguments: tuple[Any, ...]) -> float:
    kind, data = arguments
    if not isinstance(kind, NumberKind) or not isinstance(data, bytes):
        raise TypeError("a number without its bytes")
    (number,) = struct.unpack(NUMBERS[kind.name], data)
    return float(number)


def _encoded(arguments: tuple[Any, ...]) -> bytes:
    text, encoding = arguments
    if not isinstance(text, str) or encoding not in _LATIN:
        raise TypeError("text that is encoded otherwise than as latin1")
    return text.encode("latin1")


def _empty(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise TypeError("a dict with arguments")
    return {}


_CALLS: Mapping[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": _empty,
    "numpy.dtype": _number_kind,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
    "_codecs.encode": _encoded,
    "numpy.core.multiarray._reconstruct": new_array,
    "numpy._core.multiarray._reconstruct": new_array,
    "numpy.core.numeric._frombuffer": array_of_bytes,
    "numpy._core.numeric._frombuffer": array_of_bytes,
}
_KNOWN = frozenset({*_CALLS, *STORAGES, "numpy.ndarray"})
_KINDS_OF_STORAGE = ("torch.", "Storage")


def _named(machine: _Machine, module: str, name: str) -> None:
    full = f"{module}.{name}"
    starts, ends = _KINDS_OF_STORAGE
    is_storage = full.startswith(starts) and full.endswith(ends) and full.count(".") == 1
    if full not in _KNOWN and not is_storage:
        raise InvalidDataError(
            f"wanted a pickle of tensors, arrays, numbers and text; it asks for {full[:80]!r}, "
            "which nothing of that needs, and nothing is ever executed"
        )
    machine.stack.append(Named(full))


def _global(machine: _Machine, argument: object) -> None:
    module, _, name = str(argument).partition(" ")
    _named(machine, module, name)


def _stack_global(machine: _Machine, _: object) -> None:
    module, name = machine.take(2)
    _named(machine, _text(module), _text(name))


def _tuple_of(n: int) -> Callable[[_Machine, object], None]:
    return lambda machine, _: machine.stack.append(machine.take(n))


_PUSHED = frozenset(
    ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "LONG1",
     "BINFLOAT", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8", "SHORT_BINSTRING",
     "BINSTRING")
)  # fmt: skip
_MADE: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": lambda: (),
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_STEPS: Mapping[str, Callable[[_Machine, object], None]] = {
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.marked())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": lambda machine, _: machine.append(list(machine.take(1))),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "SETITEM": lambda machine, _: machine.set_items(list(machine.take(2))),
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.persistent(),
}
