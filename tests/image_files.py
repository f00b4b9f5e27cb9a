"""Image files and zips for tests: Pillow's and zipfile's own, and zips put together by hand."""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image


def noise(seed, *shape):
    """Random pixels, uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image, image_format="PNG", **options):
    """The bytes of an image, from pixels (H, W) or (H, W, C) or from a Pillow image."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def class_folders(classes=("cat", "dog"), *, n_train=3, n_test=2, shape=(8, 9, 3)):
    """Pixels by file name: train/CLASS/N.png and test/CLASS/N.png, all different."""
    names = [
        f"{part}/{name}/{k}.png"
        for part, n in (("train", n_train), ("test", n_test))
        for name in classes
        for k in range(n)
    ]
    return {name: noise(seed, *shape) for seed, name in enumerate(names)}


def one_level(classes=("cat", "dog"), *, n=10, shape=(8, 9, 3)):
    """Pixels by file name: CLASS/N.png."""
    names = [f"{name}/{k}.png" for name in classes for k in range(n)]
    return {name: noise(seed, *shape) for seed, name in enumerate(names)}


def zipped(members, compression=zipfile.ZIP_STORED):
    """A zip of (name, content) pairs or a dict; pixels become PNG."""
    pairs = members.items() if isinstance(members, dict) else members
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in pairs:
            data = encoded(content) if isinstance(content, np.ndarray) else content
            archive.writestr(name, data)
    return buffer.getvalue()


@dataclass
class Member:
    """One member of a zip written by hand; what is None is what an honest writer would put."""

    name: bytes
    data: bytes = b"x"
    flags: int = 0
    method: int = 0
    mode: int = 0o100644
    n_bytes: int | None = None
    n_compressed: int | None = None
    crc: int | None = None
    offset: int | None = None
    extra: bytes = b""
    local_name: bytes | None = None
    local_crc: int | None = None


def zipped_by_hand(members, *, n_entries=None, has_zip64=False, comment=b""):
    """A zip whose directory says what the members tell it to, whatever is true.

    Args:
        members: of type Member.
        n_entries: the number in the record at the end; default: the true one, modulo 65,536.
        has_zip64: write the 64-bit record as well, with the full number.
        comment: at the end.
    """
    body, directory = bytearray(), bytearray()
    for one in members:
        crc = zlib.crc32(one.data) if one.crc is None else one.crc
        n_compressed = len(one.data) if one.n_compressed is None else one.n_compressed
        n_bytes = len(one.data) if one.n_bytes is None else one.n_bytes
        offset = len(body) if one.offset is None else one.offset
        local_name = one.name if one.local_name is None else one.local_name
        local_crc = crc if one.local_crc is None else one.local_crc
        body += struct.pack(
            "<4s5H3L2H", b"PK\3\4", 20, one.flags, one.method, 0, 0, local_crc, n_compressed,
            n_bytes, len(local_name), 0,
        )  # fmt: skip
        body += local_name + one.data
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 0x314, 20, one.flags, one.method, 0, 0, crc, n_compressed,
            n_bytes, len(one.name), len(one.extra), 0, 0, 0, one.mode << 16, offset,
        )  # fmt: skip
        directory += one.name + one.extra
    start, n = len(body), len(members)
    tail = b""
    if has_zip64:
        tail = struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, n, n, len(directory), start
        ) + struct.pack("<4sLQL", b"PK\6\7", 0, start + len(directory), 1)
    said = n % 65_536 if n_entries is None else n_entries
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, said, said, len(directory), start, len(comment))
    return bytes(body + directory + tail + end + comment)
