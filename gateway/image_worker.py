"""One image, read and written anew: the whole program of a process that does it and ends.

Run as a file of its own with an empty environment, never imported by a door: decoders are the
likeliest code here to be broken by what a stranger sends. So they see no secret and no socket
of ours, may use only so much memory and processor time, and die with their one image.

Arguments: format, pixels at most, side at least, side at most, side kept, side of the small one,
bytes of memory, seconds of processor. Standard input: the image. Standard output: a line
`{"sizes": [bytes, bytes], "side": [width, height], "format": …}` and both sizes, or a line
`{"refused": sentence}`.
"""

import json
import resource
import sys
import warnings
from io import BytesIO
from typing import BinaryIO, NoReturn

from PIL import Image, ImageOps
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

QUALITY = 85
GAP = 3
"""How many times too large an image may stay for the good filter, after the quick one."""

# Called by name: `Image.open` would load forty more decoders to see whether one knows better.
READERS: dict[str, type[ImageFile]] = {
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "JPEG": JpegImageFile,
    "WEBP": WebPImageFile,
}
KEPT_AS = {"PNG": "PNG", "GIF": "PNG", "JPEG": "JPEG", "WEBP": "WEBP"}
OPTIONS: dict[str, dict[str, object]] = {
    "PNG": {"compress_level": 6},
    "JPEG": {"quality": QUALITY, "optimize": True},
    "WEBP": {"quality": QUALITY, "method": 4},
}


def main(arguments: list[str], source: BinaryIO, target: BinaryIO) -> None:
    """Reads, checks, writes."""
    format, *numbers = arguments
    pixels_max, side_min, side_max, kept, small, memory, seconds = map(int, numbers)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Pillow warns from its own bound on; here that is the bound.
    Image.MAX_IMAGE_PIXELS = pixels_max
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    with READERS[format](BytesIO(source.read())) as image:
        _check(image.size, pixels_max=pixels_max, side_min=side_min, side_max=side_max)
        image.draft("RGB", (kept, kept))  # a JPEG is decoded at the size that is needed
        ImageOps.exif_transpose(image, in_place=True)
        kept_format = KEPT_AS[format]
        large = _written(_plain(image, kept), kept_format)
    # Of what is kept and nothing else, so that the same large one has always the same small one.
    with READERS[kept_format](BytesIO(large)) as image:
        width, height = image.size
        small_one = _written(_plain(image, small), kept_format)
    head = {"sizes": [len(large), len(small_one)], "side": [width, height], "format": kept_format}
    target.write(json.dumps(head).encode() + b"\n" + large + small_one)


def _check(size: tuple[int, int], *, pixels_max: int, side_min: int, side_max: int) -> None:
    width, height = size
    if not (side_min <= min(size) and max(size) <= side_max and width * height <= pixels_max):
        _refuse(
            f"Expected sides of {side_min} to {side_max} and at most {pixels_max} pixels,"
            f" was {width} by {height}"
        )


def _plain(image: Image.Image, side: int) -> Image.Image:
    # Pixels alone, without colour profile, comments, positions or further frames; in `side`.
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    factor = max(image.size) // (side * GAP)
    if factor > 1:
        image = image.reduce(factor)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return Image.frombytes(mode, image.size, image.tobytes())


def _written(image: Image.Image, format: str) -> bytes:
    output = BytesIO()
    image.save(output, format, **OPTIONS[format])
    return output.getvalue()


def _refuse(sentence: str) -> NoReturn:
    sys.stdout.write(json.dumps({"refused": sentence}) + "\n")
    sys.exit(0)


if __name__ == "__main__":
    try:
        main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        _refuse(f"Expected at most {sys.argv[2]} pixels")
    except MemoryError:
        _refuse("Expected an image that needs less memory")
    except Exception:
        # Whatever a decoder says of a stranger's bytes, it is the same to him.
        _refuse("Expected an image that can be read")
