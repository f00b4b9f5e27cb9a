"""The zip reader: against zipfile's files, and against zips that lie, put together by hand."""

import io
import random
import struct
import tracemalloc
import zipfile
import zlib

import pytest

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.zip_directory import MAX_ENTRIES, read_directory, read_entry
from tests.image_files import Member, noise, zipped_by_hand

TEXT = b"some text that can be compressed, " * 20


@pytest.fixture
def read(tmp_path):
    """Everything in a zip of these bytes, by name."""

    def read_all(content):
        path = tmp_path / "upload.zip"
        path.write_bytes(content)
        entries = read_directory(path)
        with path.open("rb") as file:
            return {entry.name: read_entry(file, entry) for entry in entries}

    return read_all


def deflated(data):
    """Raw deflate, as zips have it."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeezer.compress(data) + squeezer.flush()


def test_what_zipfile_writes_is_read_as_zipfile_reads_it(read):
    """Stored, deflated, streamed with sizes behind the data, with 64-bit sizes, folders, UTF-8."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.mkdir("a")
        archive.writestr("a/stored.png", noise(0, 300).tobytes())
        archive.writestr("a/deflated.png", TEXT, zipfile.ZIP_DEFLATED)
        archive.writestr("a/empty.png", b"")
        archive.writestr("Ünïcode/図.png", b"x")
        with archive.open("a/large.png", "w", force_zip64=True) as member:
            member.write(TEXT)
        archive.comment = b"a comment"
    with zipfile.ZipFile(buffer) as archive:
        wanted = {name: archive.read(name) for name in archive.namelist()}
    assert len(wanted) == 6
    assert read(buffer.getvalue()) == wanted


def test_a_zip_written_to_a_pipe_is_read(read):
    """A writer that cannot go back leaves sizes and checksum for after the data."""

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.content = b""

        def writable(self):
            return True

        def write(self, data):
            self.content += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", TEXT)
    assert read(pipe.content) == {"a.png": TEXT}


@pytest.mark.parametrize("has_zip64", [False, True])
def test_more_entries_than_16_bits_count_are_read(read, has_zip64):
    """70,000 of them, with the 64-bit record or, as macOS writes them, without."""
    members = [Member(b"%d" % k, b"") for k in range(70_000)]
    content = zipped_by_hand(members, has_zip64=has_zip64, n_entries=70_000 % 65_536)
    assert len(read(content)) == 70_000


def test_zip64_sizes_of_an_entry_are_read(read):
    """Sizes and offset of all ones stand in the extra field, in this order, behind other fields."""
    full = 0xFFFFFFFF
    extra = struct.pack("<2HL", 0x5455, 4, 7) + struct.pack("<2H3Q", 1, 24, 640, 640, 0)
    data = TEXT[:640]
    member = Member(
        b"a", data, n_bytes=full, n_compressed=full, offset=full, extra=extra, crc=zlib.crc32(data)
    )
    assert read(zipped_by_hand([member])) == {"a": data}
    member.extra = extra[:8]
    with pytest.raises(InvalidDataError, match="sizes of a zip64 entry"):
        read(zipped_by_hand([member]))


def test_names_in_utf8_need_no_flag(read):
    """As macOS does, which writes UTF-8 and does not say so."""
    assert list(read(zipped_by_hand([Member("é".encode())]))) == ["é"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"../a.png", "'..'"),
        (b"a/../../b.png", "'..'"),
        (b"a/./b.png", "'.'"),
        (b"a//b.png", "empty"),
        (b"/etc/passwd", "relative"),
        (b"//host/share", "relative"),
        (b"C:/a.png", "drive letter"),
        (b"c:a.png", "drive letter"),
        (b"..\\a.png", "'..'"),
        (b"\\\\host\\share", "relative"),
        (b"C:\\a.png", "drive letter"),
        (b"a\0.png", "control"),
        (b"a\nb.png", "control"),
        ("a\u202eb.png".encode(), "control or format"),
        ("a\u200db.png".encode(), "control or format"),
        ("\u0645\u200c/b.png".encode(), "control or format"),
        (
            b"caf\xe9/a.png",
            r"UTF-8, or the code page.*b'caf.xe9/a.png'.*'café/a.png' with names=cp1252",
        ),
        (b"\xed\xa0\x80.png", "UTF-8"),
        (b"", "1 to 255 bytes"),
        (b"a" * 256, "1 to 255 bytes; got one of 256"),
    ],
)
def test_unsafe_names_are_refused(read, name, message):
    """Whatever would leave a folder, or is no text, on any system."""
    with pytest.raises(InvalidDataError, match=message):
        read(zipped_by_hand([Member(b"good.png"), Member(name)]))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (Member(b"a", mode=0o120777), "a: wanted plain files and folders; got a symbolic link"),
        (Member(b"a", mode=0o010644), "got a special file"),
        (Member(b"a", mode=0o020644), "got a special file"),
        (Member(b"a", flags=0x1), "a: wanted it unencrypted"),
        (Member(b"a", flags=0x40), "unencrypted"),
        (Member(b"a", method=12), "got zip method 12"),
        (Member(b"a", method=99), "got zip method 99"),
        (Member(b"a/", b"x"), "folder without bytes"),
        (Member(b"a", b"xx", n_bytes=3), "stored entry of one size; got 2 and 3"),
        (Member(b"a", b"x" * 10, method=8, n_bytes=262_145), "ratio of at most 100; got 262,145"),
    ],
)
def test_entries_that_are_no_plain_files_are_refused(read, member, message):
    """Links, devices, encrypted or strangely packed entries, bombs by their own word."""
    with pytest.raises(InvalidDataError, match=message):
        read(zipped_by_hand([Member(b"good.png"), member]))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([Member(b"a", b"1"), Member(b"a", b"2")], "a: wanted each name once"),
        ([Member(b"a/", b""), Member(b"a", b"2")], "a: wanted each name once"),
        ([Member(b"a", b"x" * 50), Member(b"b", offset=10)], "b: wanted bytes of its own"),
        ([Member(b"a", b"x" * 50), Member(b"b", offset=0)], "wanted bytes of its own"),
        ([Member(b"a", n_bytes=500, n_compressed=500)], "reaches into it"),
    ],
)
def test_entries_that_share_names_or_bytes_are_refused(read, members, message):
    """Twice the same name; overlapping bytes, by which a small zip inflates to any size."""
    with pytest.raises(InvalidDataError, match=message):
        read(zipped_by_hand(members))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (Member(b"a", local_name=b"b"), "to agree"),
        (Member(b"a", local_crc=1), "to agree"),
        (Member(b"a", crc=1), "checksum"),
        (Member(b"a", deflated(TEXT), method=8, n_bytes=600), "wanted 600 bytes as declared"),
        (Member(b"a", deflated(TEXT), method=8, n_bytes=700), "wanted 700 bytes as declared"),
        (Member(b"a", deflated(TEXT)[:-5], method=8, n_bytes=len(TEXT)), "as declared; got"),
        (Member(b"a", deflated(TEXT) + b"!", method=8, n_bytes=len(TEXT)), "as declared; got"),
        (Member(b"a", b"\xff" * 40, method=8, n_bytes=40), "wanted deflated bytes"),
        (Member(b"a", b"x" * 60, offset=1, n_bytes=50, n_compressed=50), "there is none"),
    ],
)
def test_a_directory_that_lies_is_found_out(read, member, message):
    """Sizes, names and checksums are compared when the bytes are read; never more is inflated."""
    with pytest.raises(InvalidDataError, match=message):
        read(zipped_by_hand([member]))


def test_no_more_is_inflated_than_declared(read):
    """A bomb whose directory plays it down costs what it declares, not what it holds."""
    bomb = deflated(bytes(50_000_000))
    member = Member(b"a", bomb, method=8, n_bytes=1_000, crc=0)
    content = zipped_by_hand([member])
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDataError, match="wanted 1,000 bytes as declared"):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes that are no whole zip"),
        (b"PK\5\6", "no whole zip"),
        (b"PK\5\6" + b"\xff" * 18, "directory is 4,294,967,295 bytes long"),
        (zipped_by_hand([Member(b"a")], n_entries=2), "end says, 2; its directory has 1"),
        (zipped_by_hand([Member(b"a")] * 2, n_entries=1), "end says, 1; its directory has 2"),
        (zipped_by_hand([Member(b"a")])[20:], "said to lie beyond|broken after"),
    ],
)
def test_what_is_no_whole_zip_is_refused(read, content, message):
    """Cut short, or miscounted."""
    with pytest.raises(InvalidDataError, match=message):
        read(content)


@pytest.mark.long
def test_too_many_entries_are_refused(read):
    """Counted while they are read."""
    members = [Member(b"%d" % k, b"") for k in range(MAX_ENTRIES + 1)]
    with pytest.raises(InvalidDataError, match="at most 250,000 entries; got more"):
        read(zipped_by_hand(members))


def test_flipped_bytes_raise_nothing_but_the_refusal(read):
    """However the bytes are damaged, the reader answers or refuses: it never falls over."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for k in range(4):
            kind = zipfile.ZIP_DEFLATED if k % 2 else zipfile.ZIP_STORED
            archive.writestr(f"train/c{k}/é.png", TEXT[: 50 * k + 9], kind)
    content = buffer.getvalue()
    directory = content.index(b"PK\1\2")
    dice = random.Random(0)
    n_refused = 0
    for trial in range(800):
        damaged = bytearray(content)
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(directory if trial % 2 else 0, len(damaged))
            damaged[place] = dice.choice((0, 255, dice.randrange(256)))
        if trial % 9 == 0:
            del damaged[dice.randrange(len(damaged)) :]
        try:
            read(bytes(damaged))
        except InvalidDataError:
            n_refused += 1
    assert n_refused > 400
