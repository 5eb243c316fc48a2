"""What strangers upload: an image or a cloud is read from a file, or one sentence says what came and what was wanted.

The content decides what a file is, never its name. Nothing is unpickled, no archive is opened, and nothing is made
whose size a file only claims.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np

from experiments.base.errors import ExperimentError, plain
from experiments.playground.ply import number_of, read_ply

MAX_BYTES = 16 * 2**20
MAX_PIXELS = 20_000_000
MAX_POINTS = 100_000
MIN_POINTS = 4
LARGEST = 1e12  # of a coordinate: its square is far from the end of float32
IMAGE_SIDE = 256  # the longer side of an image as it is kept
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
LONGEST_NAME = 60

WANTED = {
    "image": f"a PNG, JPEG, WebP or BMP image of at most {MAX_BYTES >> 20} MiB and "
    f"{MAX_PIXELS // 10**6} million pixels",
    "points": f"a cloud of {MIN_POINTS} to {MAX_POINTS:,} points as .ply, as .npy (N, 3), or as text with x y z on "
    f"each line, of at most {MAX_BYTES >> 20} MiB",
}
SIGNATURES = {  # what else a file may turn out to be, by how it begins
    b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image", b"GIF8": "a GIF image", b"BM": "a bitmap",
    b"PK\x03\x04": "a zip archive, as .npz is", b"PK\x05\x06": "an empty zip archive", b"\x1f\x8b": "a gzip archive",
    b"\x80\x02": "a pickle", b"\x80\x03": "a pickle", b"\x80\x04": "a pickle", b"\x80\x05": "a pickle",
    b"%PDF": "a PDF", b"\x7fELF": "a program", b"ply": "a PLY cloud", b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file", b"<": "a page or a drawing in XML",
}  # fmt: skip


def read_upload(path: str | Path, domain: str) -> np.ndarray:
    """Read an image or a cloud from a file that nobody vouches for.

    Args:
        path: the file.
        domain: "image" or "points".

    Returns:
        An image (H, W, 3) uint8, on white where it is transparent, whose longer side is at most `IMAGE_SIDE`, or a
        cloud (N, 3) float64, finite, in the file's own units.

    Raises:
        ExperimentError: one sentence, which names the file, what it holds and what was wanted.
    """
    path = Path(path)
    try:
        return _image(_content(path)) if domain == "image" else _cloud(_content(path))
    except ValueError as error:
        name = plain(path.name[:LONGEST_NAME])
        raise ExperimentError(f"{name}: {plain(str(error))}; wanted {WANTED[domain]}.") from error


def _content(path: Path) -> bytes:
    """The bytes of a file of sensible size."""
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"it cannot be opened ({error.strerror})") from error
    if not content:
        raise ValueError("it is empty")
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes")
    return content


def _image(content: bytes) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own warning of large images: ours is an error
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ValueError(f"it claims {width:,} x {height:,} pixels")
                image.draft("RGB", (IMAGE_SIDE, IMAGE_SIDE))
                if image.mode.startswith("I"):  # 16 bits of grey, which a conversion would cut off at 255
                    upright = Image.fromarray((np.asarray(ImageOps.exif_transpose(image)) >> 8).astype(np.uint8))
                else:
                    kept = "RGBA" if image.has_transparency_data else "RGB"
                    upright = ImageOps.exif_transpose(image.convert(kept))
                upright.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
                if upright.mode == "RGBA":
                    upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
                upright = upright.convert("RGB")
    except Image.UnidentifiedImageError:
        raise ValueError(f"it holds {_guess(content) or 'nothing that is known as an image'}") from None
    except Image.DecompressionBombError:
        raise ValueError("it claims more pixels than any picture has") from None
    except ValueError as error:
        if str(error).startswith("it claims"):
            raise
        raise ValueError("it is a damaged image") from error
    except Exception as error:  # whatever decoders raise at damaged files: there is no list of it
        raise ValueError("it is a damaged image") from error
    array = np.asarray(upright)
    if min(array.shape[:2]) < 2:
        raise ValueError(f"it is {width} x {height} pixels")
    return array


def _cloud(content: bytes) -> np.ndarray:
    if content.startswith((b"ply\n", b"ply\r")):
        points = read_ply(content, MAX_POINTS)
    elif content.startswith(b"\x93NUMPY"):
        points = _array(content)
    elif guess := _guess(content):
        raise ValueError(f"it holds {guess}")
    else:
        points = _text(content)
    if not MIN_POINTS <= len(points) <= MAX_POINTS:
        raise ValueError(f"it holds {len(points):,} point{'s' if len(points) != 1 else ''}")
    if bad := int((~np.isfinite(points)).any(axis=1).sum()):
        raise ValueError(f"{bad:,} of its {len(points):,} points are not finite")
    if (peak := np.abs(points).max()) > LARGEST:
        raise ValueError(f"a coordinate is {peak:.3g}, beyond {LARGEST:g}")
    if (points == points[0]).all():
        raise ValueError(f"its {len(points):,} points all coincide")
    return points


def _array(content: bytes) -> np.ndarray:
    """The coordinates of an array file, once its header agrees with what follows."""
    file = io.BytesIO(content)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = read[version](file)
    except Exception as error:  # the header is a Python literal, which fails in many ways
        raise ValueError("it begins as a NumPy array, and its header cannot be read") from error
    if dtype.hasobject:
        raise ValueError("it holds a NumPy array of pickled Python objects")
    if dtype.kind not in "fiu":
        raise ValueError(f"it holds an array of {str(dtype)[:LONGEST_NAME]}")
    if len(shape) != 2 or shape[1] < 3 or shape[0] < 1:
        said = " x ".join(map(str, shape[:4])) + (" x ..." if len(shape) > 4 else "")
        raise ValueError(f"it holds an array of shape {f'({said})' if shape else '()'}")
    if shape[0] > MAX_POINTS:
        raise ValueError(f"it claims {_count(shape[0])} points")
    claimed, there = shape[0] * shape[1] * dtype.itemsize, len(content) - file.tell()
    if claimed > there:
        raise ValueError(f"it claims {_count(claimed)} bytes of numbers and holds {there:,}")
    file.seek(0)
    with np.errstate(all="ignore"):
        return np.load(file, allow_pickle=False)[:, :3].astype(np.float64)


def _text(content: bytes) -> np.ndarray:
    """Three numbers a line, between blanks, commas or semicolons; further columns and # comments are passed over."""
    points: list[list[float]] = []
    lines = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig")
    try:
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].replace(",", " ").replace(";", " ").split(maxsplit=3)
            if not words:
                continue
            try:
                x, y, z = (number_of(word) for word in words[:3])
            except ValueError:
                raise ValueError(f"line {number:,} is not three numbers but {line.strip()[:30]!r}") from None
            points.append([x, y, z])
            if len(points) > MAX_POINTS:
                raise ValueError(f"it holds more than {MAX_POINTS:,} lines of points")
    except UnicodeDecodeError as error:
        raise ValueError("it holds bytes that are no text") from error
    return np.array(points, dtype=np.float64).reshape(-1, 3)


def _guess(content: bytes) -> str | None:
    """What a file seems to be, by its first bytes."""
    start = content[:64].lstrip()
    return next((what for signature, what in SIGNATURES.items() if start.startswith(signature)), None)


def _count(number: int) -> str:
    """A number that may be too long to be printed."""
    return f"{number:,}" if number < 10**15 else "more than 10^15"
