"""Point clouds as PLY, in text and in both binary orders: the coordinates of the vertices, and nothing else."""

from __future__ import annotations

import io
import itertools

import numpy as np

LONGEST_NUMBER = 50  # characters
MAX_HEADER = 1 << 16  # bytes
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4",
    "float64": "f8",
}  # fmt: skip
Element = tuple[str, int, list[tuple[str, str]]]  # name, count, and (name, type) of each property


def read_ply(content: bytes, max_points: int) -> np.ndarray:
    """The vertices of a PLY file.

    Args:
        content: the whole file.
        max_points: the most vertices that are taken.

    Returns:
        (N, 3) float64, x, y and z.

    Raises:
        ValueError: a header that says no such thing, or that promises more than follows; half a sentence says which.
    """
    order, elements, start = _header(content)
    names = [name for name, _, _ in elements]
    if "vertex" not in names:
        raise ValueError("it is a PLY file without vertices")
    place = names.index("vertex")
    _, count, properties = elements[place]
    columns = [name for name, _ in properties]
    if missing := [axis for axis in "xyz" if axis not in columns]:
        raise ValueError(f"its PLY vertices have no {missing[0]}")
    if len(set(columns)) < len(columns):
        raise ValueError("its PLY vertices have two properties of one name")
    if not 0 <= count <= max_points:
        raise ValueError(f"its PLY header claims {count:,} vertices")
    for name, _, kinds in elements[: place + 1]:
        if any(kind == "list" for _, kind in kinds):
            raise ValueError(f"its PLY element {name[:30]!r} has a list where plain numbers are read")
    before = elements[:place]
    body = memoryview(content)[start:]
    if order:
        return _binary(body, order, count, properties, sum(n * _row(kinds, order).itemsize for _, n, kinds in before))
    return _ascii(bytes(body), count, columns, sum(n for _, n, _ in before))


def _header(content: bytes) -> tuple[str, list[Element], int]:
    """The byte order ("" for text), the elements, and where the header ends."""
    end = content.find(b"end_header", 0, MAX_HEADER)
    stop = content.find(b"\n", end, end + 16) if end >= 0 else -1
    if stop < 0:
        raise ValueError("it is a PLY file whose header does not end")
    order: str | None = None
    elements: list[Element] = []
    for line in content[:end].decode("latin-1").splitlines()[1:]:
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                continue
            case ["format", word, "1.0"] if word in ORDERS:
                order = ORDERS[word]
            case ["element", name, number] if number.isdecimal() and number.isascii() and len(number) <= 12:
                elements.append((name, int(number), []))
            case ["property", "list", size, kind, name] if elements and {size, kind} <= TYPES.keys():
                elements[-1][2].append((name, "list"))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1][2].append((name, TYPES[kind]))
            case _:
                raise ValueError(f"its PLY header has the line {line[:40]!r}")
    if order is None:
        raise ValueError("its PLY header names no format")
    return order, elements, stop + 1


def _row(properties: list[tuple[str, str]], order: str) -> np.dtype:
    return np.dtype([(f"{place}", order + kind) for place, (_, kind) in enumerate(properties)])


def _binary(body: memoryview, order: str, count: int, properties: list[tuple[str, str]], offset: int) -> np.ndarray:
    row = _row(properties, order)
    if (there := len(body) - offset) < count * row.itemsize:
        raise ValueError(f"its PLY header promises {count:,} vertices and {max(there, 0) // row.itemsize:,} follow")
    rows = np.frombuffer(body, row, count, offset)
    places = {name: f"{place}" for place, (name, _) in enumerate(properties)}
    with np.errstate(all="ignore"):
        return np.stack([rows[places[axis]].astype(np.float64) for axis in "xyz"], axis=1)


def _ascii(body: bytes, count: int, columns: list[str], skipped: int) -> np.ndarray:
    filled = (line for line in io.TextIOWrapper(io.BytesIO(body), "latin-1") if line.strip())
    places = [columns.index(axis) for axis in "xyz"]
    points: list[list[float]] = []
    for number, line in enumerate(itertools.islice(filled, skipped, skipped + count)):
        words = line.split()
        try:
            points.append([number_of(words[place]) for place in places])
        except (ValueError, IndexError):
            raise ValueError(f"vertex {number:,} of its PLY text is {line.strip()[:30]!r}") from None
    if len(points) < count:
        raise ValueError(f"its PLY header promises {count:,} vertices and {len(points):,} follow")
    return np.array(points, dtype=np.float64).reshape(-1, 3)


def number_of(word: str) -> float:
    """The number that a word is; ValueError where it is none, or longer than any that a file of points has."""
    if len(word) > LONGEST_NUMBER:
        raise ValueError(word[:LONGEST_NUMBER])
    return float(word)
