"""What strangers upload to the playground: good files are read whole, bad ones get one sentence, at little memory."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.base.errors import ExperimentError
from experiments.playground.uploads import MAX_BYTES, MAX_PIXELS, MAX_POINTS, WANTED, read_upload

CLOUD = np.random.default_rng(0).normal(size=(40, 3))
MEMORY = 200 * 2**20  # bytes that Python and NumPy may take for the worst of them


def ply(
    rows: bytes | str,
    count: object = 4,
    form: str = "ascii",
    properties: tuple[str, ...] = ("float x", "float y", "float z"),
    before: str = "",
) -> bytes:
    lines = ["ply", f"format {form} 1.0", *filter(None, [before]), f"element vertex {count}"]
    header = "\n".join([*lines, *(f"property {one}" for one in properties), "end_header", ""]).encode()
    return header + (rows.encode() if isinstance(rows, str) else rows)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npy_header(text: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode() + body


def shaped(shape: str, body: bytes = b"\0" * 96, kind: str = "'<f8'") -> bytes:
    return npy_header(f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n", body)


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def picture(form: str, size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 60)).save(file, form)
    return file.getvalue()


def png(width: int, height: int, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(more) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


class Exploit:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return pytest.fail, ("it was unpickled",)


GOOD_ROWS = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n"
FLOATS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], "<f4").tobytes()
TEXTS = {  # as .txt
    "words": "hello world\n",
    "a sentence after numbers": "0 0 0\n1 1 1\nthis is not a point\n",
    "two columns": "0 0\n1 1\n2 2\n3 3\n",
    "one column": "1\n2\n3\n4\n",
    "one point": "0 0 0\n",
    "no points": "# nothing\n\n   \n",
    "blanks": "\n" * 1000,
    "nan": "nan nan nan\n" * 9,
    "one nan": "0 0 0\n1 0 0\n0 1 0\n0 0 nan\n",
    "infinity": "0 0 0\n1 0 0\n0 1 0\n0 0 inf\n",
    "minus infinity": "0 0 0\n1 0 0\n0 1 0\n0 0 -Infinity\n",
    "overflow": "0 0 0\n1 0 0\n0 1 0\n0 0 1e999\n",
    "far": "0 0 0\n1 0 0\n0 1 0\n0 0 1e200\n",
    "coincident": "1 2 3\n" * 50,
    "xyz of chemistry": "3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n",
    "obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "off": "OFF\n4 0 0\n" + GOOD_ROWS,
    "stl": "solid thing\n facet normal 0 0 1\n",
    "pcd": "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\n",
    "csv with a header": "x,y,z\n0,0,0\n1,0,0\n0,1,0\n0,0,1\n",
    "json": "[[0, 0, 0], [1, 1, 1]]",
    "hexadecimal": "0x0 0x1 0x2\n" * 5,
    "decimal commas": "0,5 0,25 x\n" * 5,
    "a number of a million digits": "1" * 1_000_000 + " 0 0\n",
    "too many points": "0 0 1\n" * (MAX_POINTS + 1),
    "code": "__import__('os').system('true')\n",
    "terminal codes": "\x1b[31m red \x07 \u202e\n",
    "null characters": "0 0 \0\n" * 4,
    "markup": "<script>alert(1)</script>\n",
}
CLOUDS: dict[str, bytes] = {
    **{f"{name}.txt": text.encode() for name, text in TEXTS.items()},
    "empty.txt": b"",
    "empty.ply": b"",
    "empty.npy": b"",
    "utf16.txt": GOOD_ROWS.encode("utf-16"),
    "latin.txt": "é 0 0\n".encode("latin-1"),
    "bytes.xyz": bytes(range(256)) * 8,
    "zeros.xyz": b"\0" * 4096,
    "large.txt": b" " * (MAX_BYTES + 1),
    "large.ply": ply("0 0 0\n" * 10) + b" " * MAX_BYTES,
    # PLY
    "truncated.ply": ply("0 0 0\n1 0 0\n", 400),
    "half a line.ply": ply("0 0 0\n1 0 0\n0 1", 3),
    "only magic.ply": b"ply\n",
    "magic and format.ply": b"ply\nformat ascii 1.0\n",
    "no format.ply": b"ply\nelement vertex 4\nproperty float x\nend_header\n" + GOOD_ROWS.encode(),
    "format of the future.ply": ply(GOOD_ROWS, form="ascii").replace(b"1.0", b"2.0"),
    "unknown format.ply": ply(GOOD_ROWS, form="binary_middle_endian"),
    "negative count.ply": ply(GOOD_ROWS, -4),
    "fractional count.ply": ply(GOOD_ROWS, 4.5),
    "huge count.ply": ply(GOOD_ROWS, 10**11),
    "count beyond any integer.ply": ply(GOOD_ROWS, "9" * 5000),
    "count of words.ply": ply(GOOD_ROWS, "four"),
    "count of other digits.ply": ply(GOOD_ROWS, "\u0664"),
    "no vertices.ply": ply("", 0),
    "faces alone.ply": b"ply\nformat ascii 1.0\nelement face 1\nproperty list uchar int v\nend_header\n3 0 1 2\n",
    "no coordinates.ply": ply(GOOD_ROWS, properties=("uchar red", "uchar green", "uchar blue")),
    "no z.ply": ply(GOOD_ROWS, properties=("float x", "float y", "float w")),
    "x twice.ply": ply(GOOD_ROWS, properties=("float x", "float x", "float y", "float z")),
    "vertices with lists.ply": ply(GOOD_ROWS, properties=("float x", "float y", "float z", "list uchar int n")),
    "coordinates in lists.ply": ply(GOOD_ROWS, properties=("list uchar float x", "float y", "float z")),
    "lists first.ply": ply(GOOD_ROWS, before="element face 1\nproperty list uchar int v"),
    "unknown type.ply": ply(GOOD_ROWS, properties=("quaternion x", "float y", "float z")),
    "property before element.ply": b"ply\nformat ascii 1.0\nproperty float x\nend_header\n",
    "words for vertices.ply": ply("a b c\nd e f\ng h i\nj k l\n"),
    "short vertices.ply": ply("0 0\n1 0\n0 1\n0 0\n"),
    "nan.ply": ply("nan nan nan\n" * 4),
    "coincident.ply": ply("1 1 1\n" * 4),
    "one vertex.ply": ply("1 1 1\n", 1),
    "header without end.ply": b"ply\nformat ascii 1.0\n" + b"comment x\n" * 100_000,
    "end without line.ply": b"ply\nformat ascii 1.0\nelement vertex 4\nend_header",
    "garbage in the header.ply": b"ply\nformat ascii 1.0\n\xff\xfe\x00garbage\nend_header\n",
    "truncated little.ply": ply(FLOATS[:-4], form="binary_little_endian"),
    "truncated big.ply": ply(FLOATS[:-1], form="binary_big_endian"),
    "no body.ply": ply(b"", form="binary_little_endian"),
    "lying little.ply": ply(FLOATS, MAX_POINTS, form="binary_little_endian"),
    "huge little.ply": ply(FLOATS, 10**12 - 1, form="binary_little_endian"),
    "wrong order.ply": ply(np.full((4, 3), np.nan, "<f4").tobytes(), form="binary_little_endian"),
    "infinite big.ply": ply(np.full((4, 3), np.inf, ">f4").tobytes(), form="binary_big_endian"),
    "skipped beyond the end.ply": ply(
        FLOATS, form="binary_little_endian", before="element camera 999999999999\nproperty double f"
    ),
    "skipped lines beyond the end.ply": ply(GOOD_ROWS, before="element camera 999999999999\nproperty double f"),
    # NumPy
    "pickled.npy": pickle.dumps(Exploit()),
    "pickled 0.npy": pickle.dumps(Exploit(), protocol=0),
    "objects.npy": npy(np.array([[1, 2, 3], [Exploit(), 5, 6]], dtype=object)),
    "none.npy": npy(np.array(None)),
    "strings.npy": npy(np.array([["a", "b", "c"]] * 4)),
    "complex.npy": npy(np.ones((5, 3), complex)),
    "booleans.npy": npy(np.ones((5, 3), bool)),
    "dates.npy": npy(np.zeros((5, 3), "datetime64[s]")),
    "records.npy": npy(np.zeros(5, [("x", "f4"), ("y", "f4"), ("z", "f4")])),
    "scalar.npy": npy(np.float64(3)),
    "flat.npy": npy(np.zeros(30)),
    "batch.npy": npy(np.zeros((2, 30, 3))),
    "planar.npy": npy(np.random.default_rng(0).normal(size=(30, 2))),
    "no rows.npy": npy(np.zeros((0, 3))),
    "no columns.npy": npy(np.zeros((3, 0))),
    "three points.npy": npy(np.eye(3)),
    "nan.npy": npy(np.where(np.arange(40)[:, None] == 7, np.nan, CLOUD)),
    "inf.npy": npy(np.where(np.arange(40)[:, None] == 7, np.inf, CLOUD)),
    "zeros.npy": npy(np.zeros((40, 3))),
    "far.npy": npy(CLOUD * 1e300),
    "too many.npy": npy(np.zeros((MAX_POINTS + 1, 3), np.float16)),
    "only magic.npy": b"\x93NUMPY",
    "truncated header.npy": npy(CLOUD)[:40],
    "truncated.npy": npy(CLOUD)[:-8],
    "version of the future.npy": npy_header("{}", version=b"\x09\x09"),
    "header of code.npy": npy_header("__import__('os').system('true')\n"),
    "header of nests.npy": npy_header("(" * 9000 + "\n"),
    "header of words.npy": npy_header("hello\n"),
    "header without keys.npy": npy_header("{}\n"),
    "huge.npy": shaped("(100000000000, 3)"),
    "lying.npy": shaped("(100000, 3)"),
    "wide.npy": shaped("(4, 1000000000000)"),
    "negative.npy": shaped("(-4, 3)"),
    "beyond any integer.npy": shaped(f"({'9' * 4000}, 3)"),
    "many dimensions.npy": shaped("(" + "1, " * 900 + ")"),
    "not a shape.npy": shaped("'four by three'"),
    "objects by header.npy": shaped("(4, 3)", kind="'|O'"),
    "unknown type.npy": shaped("(4, 3)", kind="'<f77'"),
    "type of code.npy": shaped("(4, 3)", kind="'f8,O'"),
    # other files
    "bomb.npz": zipped("cloud.npy", npy(np.zeros((10**6, 3)))),
    "named npy.npy": zipped("a", b"\0" * 10**7),
    "empty.zip": b"PK\x05\x06" + b"\0" * 18,
    "picture.ply": picture("PNG"),
    "photo.txt": picture("JPEG"),
    "archive.gz": b"\x1f\x8b\x08\0\0\0\0\0",
    "page.html": b"<!doctype html><html><body>0 0 0</body></html>",
    "document.pdf": b"%PDF-1.7\n",
    "program": b"\x7fELF\x02\x01\x01",
    "\u2603 \u202egnp.\u0637.ply": b"ply\n",
    "$(touch x); rm -rf ~ '\" .ply": b"not a cloud",
    "<img src=x onerror=alert(1)>.txt": b"not a cloud",
    "n" * 200 + ".ply": b"not a cloud",
    "line\nbreak.txt": b"not a cloud",
}
IMAGES: dict[str, bytes] = {
    "empty.png": b"",
    "words.png": b"hello",
    "bomb.png": png(60_000, 60_000),
    "wide.png": png(2**31 - 1, 1),
    "large.png": png(5000, MAX_PIXELS // 5000 + 1),
    "no rows.png": png(8, 0),
    "no pixels.png": png(64, 64),
    "half.png": picture("PNG", (64, 64))[:60],
    "bad sum.png": picture("PNG")[:-20] + b"\0" * 20,
    "bad stream.png": png(64, 64, chunk(b"IDAT", b"\0" * 64)),
    "short stream.png": png(64, 64, chunk(b"IDAT", zlib.compress(b"\0" * 64))),
    "text bomb.png": png(8, 8, *[chunk(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 10**7))] * 3),
    "strange depth.png": png(8, 8, depth=7),
    "strange colour.png": png(8, 8, colour=9),
    "only signature.png": b"\x89PNG\r\n\x1a\n",
    "one pixel.png": picture("PNG", (1, 1)),
    "a line.png": picture("PNG", (9, 1)),
    "half.jpg": picture("JPEG", (64, 64))[:100],
    "only signature.jpg": b"\xff\xd8\xff\xe0",
    "half.webp": picture("WEBP", (64, 64))[:24],
    "half.bmp": picture("BMP", (64, 64))[:30],
    "animation.gif": picture("GIF"),
    "scan.tiff": picture("TIFF"),
    "icon.ico": picture("ICO"),
    "plain.ppm": picture("PPM"),
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "page.html": b"<!doctype html><script>alert(1)</script>",
    "cloud.ply": ply(GOOD_ROWS),
    "cloud.npy": npy(CLOUD),
    "pickle.png": pickle.dumps(Exploit()),
    "archive.png": zipped("a.png", picture("PNG")),
    "large.bmp": b"BM" + b"\0" * MAX_BYTES,
    "bytes.jpg": bytes(range(256)) * 8,
    "\u2603.png": b"\x89PNG",
}


def test_there_are_a_hundred() -> None:
    assert len(CLOUDS) > 100
    assert len(IMAGES) > 30


@pytest.mark.parametrize(("domain", "name"), [("points", n) for n in CLOUDS] + [("image", n) for n in IMAGES])
def test_a_hostile_upload_gets_one_sentence(domain: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name.replace("/", "_")
    path.write_bytes((CLOUDS if domain == "points" else IMAGES)[name])
    tracemalloc.start()
    try:
        with pytest.raises(ExperimentError) as caught:
            read_upload(path, domain)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    sentence = str(caught.value)
    assert peak < MEMORY
    assert sentence.endswith(f"; wanted {WANTED[domain]}.")
    assert sentence.isprintable()
    assert len(sentence) < 400
    assert all(letter in sentence for letter in path.name[:50] if letter.isprintable())


def test_what_is_no_file_gets_a_sentence_too(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.ply", Path("/dev/zero")):
        with pytest.raises(ExperimentError, match=f"{path.name}: there is no such file; wanted a cloud"):
            read_upload(path, "points")


def swapped(array: np.ndarray, kind: str) -> bytes:
    return array.astype(kind).tobytes()


GOOD: dict[str, bytes] = {
    "plain.ply": ply("\n".join(" ".join(map(repr, row)) for row in CLOUD.tolist()), 40),
    "windows.ply": ply("\n".join(" ".join(map(repr, row)) for row in CLOUD.tolist()), 40).replace(b"\n", b"\r\n"),
    "little.ply": ply(swapped(CLOUD, "<f8"), 40, "binary_little_endian", ("double x", "double y", "double z")),
    "big.ply": ply(swapped(CLOUD, ">f8"), 40, "binary_big_endian", ("float64 x", "float64 y", "float64 z")),
    "coloured.ply": ply(
        b"".join(struct.pack("<BdddH", 7, *row[::-1], 9) for row in CLOUD),
        40,
        "binary_little_endian",
        ("uchar red", "double z", "double y", "double x", "ushort id"),
        before="comment made by hand\nobj_info none",
    ),
    "after a camera.ply": ply(
        b"\0" * 8 + swapped(CLOUD, "<f8") + b"faces",
        40,
        "binary_little_endian",
        ("double x", "double y", "double z"),
        before="element camera 1\nproperty double f",
    ),
    "rows.npy": npy(CLOUD),
    "columns.npy": npy(np.asfortranarray(CLOUD)),
    "normals.npy": npy(np.hstack([CLOUD, CLOUD])),
    "swapped.npy": npy(CLOUD.astype(">f8")),
    "plain.txt": "\n".join(" ".join(map(repr, row)) for row in CLOUD.tolist()).encode(),
    "table.csv": "\ufeff# x, y, z, red\n\n".encode() + "\n".join(
        ", ".join(map(repr, [*row, 0.5])) + "  # a point" for row in CLOUD.tolist()
    ).encode(),
    "named wrongly.png": npy(CLOUD),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_clouds_are_read_as_they_are(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(GOOD[name])
    np.testing.assert_array_equal(read_upload(path, "points"), CLOUD)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
def test_good_images_are_read_and_made_small(form: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.txt"
    path.write_bytes(picture(form, (1000, 500)))
    image = read_upload(path, "image")
    assert image.shape == (128, 256, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image.reshape(-1, 3).mean(0), (200, 30, 60), atol=4)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "I;16"])
def test_every_kind_of_pixel_becomes_three_channels(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.new(mode, (9, 5)).save(path)
    assert read_upload(path, "image").shape == (5, 9, 3)


def test_a_picture_of_sixteen_bits_keeps_its_greys(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)).save(tmp_path / "grey.png")
    image = read_upload(tmp_path / "grey.png", "image")
    np.testing.assert_allclose(image[:, :, 0].ravel(), np.linspace(0, 255, 64), atol=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white_and_not_what_it_hides(mode: str, tmp_path: Path) -> None:
    hidden = Image.new("P", (8, 8), 0) if mode == "P" else Image.new(mode, (8, 8), (0,) * len(mode))
    hidden.save(tmp_path / "hidden.png", **({"transparency": 0} if mode == "P" else {}))
    assert (read_upload(tmp_path / "hidden.png", "image") == 255).all()


def test_no_vertices_where_the_file_ends_before_them(tmp_path: Path) -> None:
    before = "element camera 5\nproperty double f"
    (tmp_path / "short.ply").write_bytes(ply(b"", 0, "binary_little_endian", before=before))
    with pytest.raises(ExperimentError, match="its PLY header promises 0 vertices and 0 follow"):
        read_upload(tmp_path / "short.ply", "points")
