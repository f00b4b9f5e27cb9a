"""Bad uploads, by format and fault: what each holds, and the words that refuse it.

A cell of the matrix is a function that makes the bytes, with a pattern of the refusal. What cannot
be wrong in a format stands in `NOT_POSSIBLE`, with the reason.
"""

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib

import inflate64
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import scipy.io
from PIL import Image

from tests.core.intake.known_files_made import cifar, idx, mat, mnist, tarred
from tests.image_files import Member, encoded, noise, one_level, zipped, zipped_by_hand

FAULTS = ("lies", "truncated", "bomb", "executes", "escapes", "types", "missing", "nested")
ZEROS = bytes(300_000_000)


class Evil:
    """Whoever unpickles it makes a file."""

    def __reduce__(self):
        return os.system, ("touch /tmp/ddcal-was-here",)


def images(k=0):
    """A good zip's members, as files."""
    return {name: encoded(one) for name, one in one_level(shape=(8, 8)).items()}


def with_image(data, name="cat/0.png"):
    """A zip of good images and another."""
    return zipped({**images(), name: data})


def npz(**changes):
    """A .npz of good arrays, changed."""
    values = {"x_train": noise(0, 20, 8, 8), "y_train": np.arange(20) % 2, **changes}
    buffer = io.BytesIO()
    np.savez(buffer, **values)
    return buffer.getvalue()


def npz_of(**members):
    """A .npz of these bytes."""
    return zipped({f"{name}.npy": data for name, data in members.items()})


def npy(array, **header):
    """A .npy whose header may lie."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    data = buffer.getvalue()
    if header:
        told = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **header}
        text = repr(told).encode().ljust(len(data) - array.nbytes - 11) + b"\n"
        data = data[:10] + text + array.tobytes()
    return data


def parquet(columns=None, **options):
    """A parquet of good rows, with columns changed or added."""
    pixels = [encoded(noise(k, 8, 8)) for k in range(20)]
    image = pa.array([{"bytes": one, "path": None} for one in pixels])
    table = pa.table({"image": image, "label": pa.array([0, 1] * 10)} | (columns or {}))
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink, **options)
    return sink.getvalue()


def arrow(columns=None, *, metadata=None, compression=None, table=None):
    """An Arrow stream of such rows."""
    if table is None:
        table = pa.parquet.read_table(io.BytesIO(parquet(columns)))
    table = table.replace_schema_metadata(metadata)
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def nested_type(depth):
    """Lists of lists."""
    kind = pa.binary()
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


def cut(data, n=None):
    """All but the last bytes."""
    return data[: n or -(len(data) // 3)]


def changed_cifar(name="data_batch_1", **changes):
    """CIFAR with a batch of other content."""
    members, _, _ = cifar()
    path = f"cifar-10-batches-py/{name}"
    held = pickle.loads(members[path])
    return tarred({**members, path: pickle.dumps({**held, **changes}, protocol=2)})


def cifar_of(data):
    """CIFAR with a batch of these bytes."""
    return tarred({**cifar()[0], "cifar-10-batches-py/data_batch_1": data})


def encoding_bomb():
    """A pickle that makes bytes of one text again and again."""
    text = b"X" + struct.pack("<I", 2**20) + b"a" * 2**20 + b"q\x00"
    code = b"\x80\x02c_codecs\nencode\nq\x01" + text
    return code + b"h\x01h\x00X\x06\0\0\0latin1\x86R" * 2_000 + b"."


def mnist_with(name, data):
    """MNIST's files with another one, packed."""
    return zipped({**mnist()[0], name: gzip.compress(data)})


def svhn(**held):
    """A MATLAB file of these."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, held, do_compression=True)
    return buffer.getvalue()


def svhn_bomb():
    """A compressed variable that has more than it says."""
    header = mat(noise(0, 20, 8, 8, 3), np.arange(20) % 2)[:128]
    body = zlib.compress(struct.pack("<2L", 14, 64) + b"\x06\0\0\0\x08\0\0\0\x09" + ZEROS)
    return header + struct.pack("<2L", 15, len(body)) + body


def svhn_lie():
    """A shape of more numbers than there are."""
    data = mat(noise(0, 20, 8, 8, 3), np.arange(20) % 2, compressed=False)
    return data.replace(struct.pack("<4l", 8, 8, 3, 20), struct.pack("<4l", 8, 8, 3, 2_000))


def zip_lie():
    """A member of another size than its directory says."""
    return zipped_by_hand(
        [Member(name.encode(), data, n_bytes=len(data) + 1, n_compressed=len(data) + 1)
         if name == "dog/9.png" else Member(name.encode(), data) for name, data in images().items()]
    )  # fmt: skip


def deflate64_bomb():
    """A member that is played down."""
    deflater = inflate64.Deflater()
    body = deflater.deflate(ZEROS) + deflater.flush()
    members = [Member(name.encode(), data) for name, data in images().items()]
    return zipped_by_hand([*members, Member(b"cat/b.png", body, method=9, n_bytes=200)])


def tar_of(kind, name="cat/0.png", size=0, link=""):
    """A tar with a member of some kind."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, link, size
        archive.addfile(member, io.BytesIO(bytes(size)))
    return buffer.getvalue()


def tar_header_bomb():
    """A header of megabytes: a name of 2 GB is said to follow."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2_000_000_000
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))


def tar_lie():
    """A member that is said to reach beyond the end."""
    data = bytearray(tarred(images(), "w"))
    data[124:136] = b"77777777777\0"
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def table(text, **more):
    """Images with a table of labels."""
    files = {f"images/{k}.png": encoded(noise(k, 8, 8)) for k in range(12)}
    return zipped({**files, "labels.csv": text.encode(), **more})


ROWS = "".join(f"{k}.png,{'cat' if k % 2 else 'dog'}\n" for k in range(12))


def tiff(array):
    """A TIFF of these numbers."""
    return encoded(Image.fromarray(array), "TIFF")


def huge_bmp():
    """A header of 60,000 x 60,000 pixels."""
    data = bytearray(encoded(noise(0, 8, 8, 3), "BMP"))
    data[18:26] = struct.pack("<2l", 60_000, 60_000)
    return bytes(data)


def tiff_lie():
    """A height of more lines than there are."""
    data = bytearray(encoded(noise(0, 8, 8), "TIFF"))
    (start,) = struct.unpack_from("<L", data, 4)
    (n_tags,) = struct.unpack_from("<H", data, start)
    at = next(
        place
        for place in range(start + 2, start + 2 + 12 * n_tags, 12)
        if struct.unpack_from("<H", data, place) == (257,)
    )
    struct.pack_into("<HLL", data, at + 2, 4, 1, 200)
    return bytes(data)


def parquet_bomb():
    """Two hundred million rows of one value, in some kilobytes."""
    n_rows = 200_000_000
    columns = {"label": pa.array(np.zeros(n_rows, np.int8)), "image": pa.nulls(n_rows, pa.binary())}
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def page_bomb():
    """A column of one file of 300 MB of zeros."""
    rows = [{"bytes": ZEROS, "path": None}] + [{"bytes": b"", "path": None}] * 19
    return parquet({"image": pa.array(rows)}, compression="zstd", use_dictionary=False)


def arrow_bomb():
    """A compressed buffer that is said to become a terabyte."""
    data = arrow({"label": pa.array(np.zeros(20, np.int64))}, compression="zstd")
    told = struct.pack("<q", 160)
    assert told in data
    return data.replace(told, struct.pack("<q", 2**40))


def arrow_lie():
    """Offsets of bytes that lead beyond the bytes."""
    data = arrow()
    sizes = [len(encoded(noise(k, 8, 8))) for k in range(3)]
    offsets = struct.pack("<3l", sizes[0], sizes[0] + sizes[1], sum(sizes))
    assert offsets in data
    return data.replace(offsets, struct.pack("<3l", sizes[0], 2**30, sum(sizes)))


def extension():
    """A good table with a column whose type asks to be unpickled."""
    storage = pa.field("label", pa.int64(), metadata={
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(Evil()),
    })  # fmt: skip
    good = pa.parquet.read_table(io.BytesIO(parquet()))
    fields = [good.schema.field("image"), storage]
    return pa.Table.from_arrays(good.columns, schema=pa.schema(fields))


def pickled_array():
    """A .npy of an object."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()] * 20, object), allow_pickle=True)
    return buffer.getvalue()


def cifar_rows():
    """A batch of CIFAR's."""
    return {"data": noise(0, 10, 3_072), "labels": [0, 1] * 5}


def many_notes(text):
    """Notes of datasets that are no notes."""
    return arrow(metadata={"huggingface": text})


EVIL = pickle.dumps(Evil(), protocol=2)
DEEP = b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
MATRIX = {
    "zip": {
        "lies": (zip_lie, "to agree; they differ|overlaps another|reaches into"),
        "truncated": (lambda: cut(zipped(images())), "no whole zip"),
        "bomb": (deflate64_bomb, "compression ratio|as declared; got more"),
        "executes": (lambda: with_image(EVIL, "cat/a.pkl"), "files only, .* got 'cat/a.pkl'"),
        "escapes": (lambda: with_image(b"x", "../../evil.png"), r"'\.\.'"),
        "types": (lambda: with_image(b"text"), "cat/0.png: wanted a PNG, JPEG"),
        "missing": (lambda: with_image(b""), "cat/0.png: wanted a PNG, JPEG"),
        "nested": (lambda: with_image(zipped(images()), "a.zip"), "no archives inside the zip"),
    },
    "tar": {
        "lies": (tar_lie, "wanted a whole tar"),
        "truncated": (lambda: cut(tarred(images())), "wanted a whole gzip; it ends early"),
        "bomb": (lambda: gzip.compress(ZEROS), "at most 100,000,000 bytes after decoding"),
        "executes": (lambda: tarred({**images(), "cat/a.py": b"import os"}), "got 'cat/a.py'"),
        "escapes": (
            lambda: tar_of(tarfile.SYMTYPE, link="/etc/passwd"),
            "files and folders; got a symbol",
        ),
        "types": (lambda: tar_of(tarfile.CHRTYPE), "plain files and folders; got a special file"),
        "missing": (tar_header_bomb, "headers of at most 1,048,576 bytes"),
        "nested": (lambda: tarred({"a.tar": tarred(images(), "w")}), "got 'a.tar'"),
    },
    "table": {
        "lies": (lambda: table("filename,label\n99.png,cat\n" + ROWS), "'99.png', which is not in"),
        "truncated": (lambda: table("filename,label\n" + cut(ROWS)), "cells; got|have none"),
        "bomb": (lambda: table("filename,label\n0.png," + "c" * 200_000), "field larger than"),
        "executes": (lambda: table("filename,label\n" + ROWS, **{"a.xlsm": b"PK"}), "got 'a.xlsm'"),
        "escapes": (
            lambda: table("filename,label\n../../etc/passwd,cat\n" + ROWS),
            "which is not in it",
        ),
        "types": (lambda: table("a,b\n" + ROWS), "wanted a header"),
        "missing": (lambda: table("filename,label\n0.png,\n"), "1 to 64 characters; got 0"),
        "nested": (lambda: table('filename,label\n"0.png,cat\n' + ROWS), "labels.csv: "),
    },
    "npz": {
        "lies": (
            lambda: npz_of(
                x_train=npy(noise(0, 20, 8, 8), shape=(90, 8, 8)), y_train=npy(np.arange(20) % 2)
            ),
            "wanted [0-9,]+ bytes, as dtype",
        ),
        "truncated": (lambda: cut(npz()), "no whole zip"),
        "bomb": (
            lambda: zipped(
                {
                    "x_train.npy": npy(np.zeros((300_000, 20, 20), np.uint8)),
                    "y_train.npy": npy(np.zeros(300_000, np.uint8)),
                },
                zipfile.ZIP_DEFLATED,
            ),
            "compression ratio|after decoding",
        ),
        "executes": (
            lambda: npz_of(x_train=npy(noise(0, 20, 8, 8)), y_train=pickled_array()),
            "object arrays hold pickled code",
        ),
        "escapes": (
            lambda: zipped({"x_train.npy": npy(noise(0, 4, 8, 8)), "../y_train.npy": b""}),
            "each once; got .*'../y_train.npy'",
        ),
        "types": (lambda: npz(x_train=np.zeros((20, 8, 8), np.int16)), "dtype uint8"),
        "missing": (
            lambda: npz(x_train=np.where(noise(0, 20, 8, 8) > 9, 0.5, np.nan)),
            "got nan to nan",
        ),
        "nested": (
            lambda: npz_of(x_train=npz(), y_train=npy(np.arange(20) % 2)),
            "wanted a .npy file",
        ),
    },
    "image": {
        "lies": (
            lambda: with_image(tiff_lie(), "cat/0.tif"),
            "cat/0.tif: wanted a whole TIFF; it has 8 x 8 of",
        ),
        "truncated": (
            lambda: with_image(cut(encoded(noise(0, 64, 64, 3), "WEBP")), "cat/0.webp"),
            "cat/0.webp: wanted a whole WEBP",
        ),
        "bomb": (
            lambda: with_image(huge_bmp(), "cat/0.bmp"),
            "pixels; got 60,000 x 60,000|exceeds",
        ),
        "escapes": (
            lambda: with_image(b"<svg><image href='file:///etc/passwd'/></svg>"),
            "it starts with",
        ),
        "types": (
            lambda: with_image(tiff(np.ones((8, 8), np.int32)), "cat/0.tiff"),
            "16 of grey without a sign; got",
        ),
        "missing": (
            lambda: with_image(tiff(np.full((8, 8), np.nan, np.float32)), "cat/0.tif"),
            "16 of grey without a sign; got a TIFF of mode F",
        ),
        "nested": (
            lambda: with_image(
                encoded(
                    Image.fromarray(noise(0, 8, 8)),
                    "TIFF",
                    save_all=True,
                    append_images=[Image.fromarray(noise(1, 8, 8))],
                ),
                "cat/0.tif",
            ),
            "wanted one picture; got an animation, or several pages",
        ),
    },
    "cifar": {
        "lies": (
            lambda: cifar_of(
                pickle.dumps(cifar_rows(), 2).replace(b"K\x0aM\0\x0c", b"K\x0bM\0\x0c")
            ),
            "data_batch_1: wanted an array of u1 and shape",
        ),
        "truncated": (
            lambda: cifar_of(cut(pickle.dumps(cifar_rows(), 2))),
            "data_batch_1: wanted a whole pickle",
        ),
        "bomb": (lambda: cifar_of(encoding_bomb()), "makes at most 268,435,456 bytes"),
        "executes": (lambda: cifar_of(EVIL), "asks for 'posix.system', .*nothing is ever executed"),
        "escapes": (lambda: tarred({**cifar()[0], "../../evil": b"x"}), r"'\.\.'"),
        "types": (
            lambda: changed_cifar(data=np.zeros((10, 3_072), np.float64)),
            "wanted a dict with 'data'",
        ),
        "missing": (
            lambda: changed_cifar(labels=[None] * 10),
            "wanted 'labels', a list of numbers",
        ),
        "nested": (lambda: cifar_of(DEEP), "data_batch_1: wanted a dict"),
    },
    "idx": {
        "lies": (
            lambda: mnist_with(
                "train-images-idx3-ubyte.gz",
                idx(noise(0, 20, 28, 28)).replace(b"\0\0\0\x14", b"\0\0\0\x15", 1),
            ),
            "train-images-idx3-ubyte.gz: wanted [0-9,]+ bytes; got|one label an image",
        ),
        "truncated": (
            lambda: zipped(
                {
                    **mnist()[0],
                    "train-images-idx3-ubyte.gz": cut(gzip.compress(idx(noise(0, 20, 28, 28)))),
                }
            ),
            "train-images-idx3-ubyte.gz: wanted a whole gzip",
        ),
        "bomb": (
            lambda: mnist_with("train-images-idx3-ubyte.gz", idx(noise(0, 20, 28, 28)) + ZEROS),
            "no bytes after the data",
        ),
        "executes": (
            lambda: mnist_with("train-labels-idx1-ubyte.gz", EVIL),
            "wanted an IDX file of bytes",
        ),
        "escapes": (
            lambda: zipped({f"../{name}": data for name, data in mnist()[0].items()}),
            r"'\.\.'",
        ),
        "types": (
            lambda: mnist_with("train-labels-idx1-ubyte.gz", b"\0\0\x0d\x01\0\0\0\x14" + bytes(80)),
            "wanted an IDX file of bytes with 1 axes",
        ),
        "missing": (
            lambda: zipped({n: d for n, d in mnist()[0].items() if "train-l" not in n}),
            "the labels are missing",
        ),
        "nested": (
            lambda: mnist_with(
                "train-images-idx3-ubyte.gz", gzip.compress(idx(noise(0, 20, 28, 28)))
            ),
            "wanted an IDX file of bytes",
        ),
    },
    "mat": {
        "lies": (svhn_lie, "X: wanted as many numbers as its shape"),
        "truncated": (
            lambda: cut(mat(noise(0, 20, 8, 8, 3), np.arange(20) % 2, compressed=False)),
            "wanted a whole MATLAB file; it ends early",
        ),
        "bomb": (svhn_bomb, "upload.mat: wanted"),
        "executes": (
            lambda: svhn(X=np.array([{"f": 1}], object), y=[[1]]),
            "wanted images X, bytes",
        ),
        "types": (
            lambda: svhn(X=noise(0, 8, 8, 3, 20).astype(float) + 0.5, y=np.ones((20, 1))),
            "X: wanted bytes of shape",
        ),
        "missing": (
            lambda: svhn(X=noise(0, 8, 8, 3, 20), y=np.full((20, 1), np.nan)),
            "y: wanted whole",
        ),
        "nested": (
            lambda: svhn(X={"a": {"b": noise(0, 8, 8, 3, 20)}}, y=np.ones((20, 1))),
            "wanted images X, bytes",
        ),
    },
    "parquet": {
        "lies": (
            lambda: parquet()[:-8] + struct.pack("<L", 2**31 - 1) + b"PAR1",
            "upload.parquet: wanted a whole file|wanted at most",
        ),
        "truncated": (lambda: cut(parquet()), "upload.parquet: wanted a whole file"),
        "bomb": (parquet_bomb, "wanted at most 1,562,500 rows; got more"),
        "executes": (
            lambda: parquet({"image": pa.array([EVIL] * 20)}),
            "row 0: wanted a PNG, JPEG",
        ),
        "escapes": (
            lambda: parquet(
                {
                    "image": pa.array(
                        [{"bytes": None, "path": "/etc/passwd"}] * 20,
                        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
                    )
                }
            ),
            "wanted the bytes of an image; got none",
        ),
        "types": (lambda: parquet({"label": pa.array([0.5] * 20)}), "wanted a column of labels"),
        "missing": (
            lambda: parquet({"label": pa.array([None, 1] * 10)}),
            "wanted a label in each row",
        ),
        "nested": (
            lambda: parquet({"image": pa.array([[[[b"x"]]]] * 20)}),
            "wanted a column of images",
        ),
    },
    "parquet page": {
        "bomb": (page_bomb, "images of at most 134,217,728 bytes; got 300,000,000|fit into memory"),
    },
    "arrow": {
        "lies": (arrow_lie, "upload.arrow: wanted a whole file"),
        "truncated": (lambda: cut(arrow()), "upload.arrow: wanted a whole file"),
        "bomb": (arrow_bomb, "upload.arrow: wanted"),
        "executes": (lambda: arrow({"image": pa.array([EVIL] * 20)}), "row 0: wanted a PNG, JPEG"),
        "escapes": (
            lambda: arrow(
                {
                    "image": pa.array(
                        [{"bytes": None, "path": "/etc/passwd"}] * 20,
                        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
                    )
                }
            ),
            "wanted the bytes of an image; got none",
        ),
        "types": (
            lambda: arrow({"label": pa.array([-1, 1] * 10)}),
            "wanted labels 0 to 999; got -1",
        ),
        "missing": (lambda: arrow({"label": pa.array([None, 1] * 10)}), "a label in each row"),
        "nested": (
            lambda: arrow({"image": pa.nulls(20, nested_type(40))}),
            "wanted a column of images",
        ),
    },
    "arrow notes": {
        "types": (
            lambda: many_notes(
                b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1, 2]}}}}'
            ),
            "names of classes that are text",
        ),
        "nested": (
            lambda: many_notes(b'{"a":' * 100_000),
            "datasets' notes on the columns in JSON",
        ),
        "bomb": (lambda: many_notes(b" " * 5_000_000), "notes of at most 4,194,304 bytes"),
    },
}
NOT_POSSIBLE = {
    ("image", "executes"): "no image format has code that a decoder would run",
    ("mat", "escapes"): "a .mat names no files; in an archive it is the archive's fault",
}
