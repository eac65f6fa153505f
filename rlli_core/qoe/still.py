"""A picture in few bytes: the best that a codec makes of it within a limit, at its own size or a smaller one."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from PIL import Image

from ..errors import InvalidArgument, check_choice, check_integer
from .fidelity import psnr
from .pictures import as_seen

SCALES = (1.0, 0.75, 0.5, 0.375, 0.25)
_BEST_QUALITY = 95
_SCAN, _FRAME, _MEDIA = 0xDA, b"VP8 ", b"mdat"


@dataclass(frozen=True, eq=False)
class Still:
    """A compressed picture.

    Attributes:
        codec: one of `CODECS`.
        scale: share of the picture's side at which it was coded.
        quality: Pillow's, 1 to 95.
        size: bytes that are counted (see `fit_still`).
        image: what the receiver sees, at the size of the original.
    """

    codec: str
    scale: float
    quality: int
    size: int
    image: Image.Image


def fit_still(image: Image.Image, codec: str, limit: int) -> Still:
    """Compress a picture into at most `limit` bytes, as like it (PSNR) as the codec can.

    Quality is searched by halving, then the picture is scaled down step by step (`SCALES`) for as long as that makes it better; the receiver scales
    it up again. Colours are subsampled (4:2:0). Counted are the bytes that depend on the picture: of JPEG the entropy-coded scan with the codec's standard
    tables, of WebP the VP8 frame, of AVIF the media data; both ends know the rest of the file (tables, size, container).

    Args:
        codec: "jpeg", "webp" or "avif".
        limit: bytes, 1 or more.

    Raises:
        InvalidArgument: a limit that even the smallest picture at the worst quality is above; a codec that this Pillow lacks.

    >>> found = fit_still(Image.radial_gradient("L").convert("RGB"), "jpeg", 500)
    >>> found.size <= 500, found.image.size
    (True, (256, 256))
    """
    seen = as_seen(image)
    options, count = CODECS[check_choice("codec", codec, tuple(CODECS))]
    check_integer("limit", limit, 1)
    best: tuple[float, Still] | None = None
    for scale in SCALES:
        size = (max(1, round(seen.width * scale)), max(1, round(seen.height * scale)))
        small = seen if scale == 1 else seen.resize(size, Image.Resampling.LANCZOS)
        fit = _largest(partial(_written, small, options), count, limit)
        if fit is None:
            continue
        quality, data = fit
        shown = Image.open(io.BytesIO(data)).convert("RGB").resize(seen.size, Image.Resampling.LANCZOS)
        likeness = psnr(shown, seen)
        if best is not None and likeness <= best[0]:
            break
        best = likeness, Still(codec, scale, quality, count(data), shown)
    if best is None:
        raise InvalidArgument("limit", limit, f"more bytes: {codec} cannot make this picture so small")
    return best[1]


def _largest(write: Callable[[int], bytes], count: Callable[[bytes], int], limit: int) -> tuple[int, bytes] | None:
    """The highest quality whose file fits, and the file; sizes are taken to grow with quality."""
    low, high, found = 1, _BEST_QUALITY, None
    while low <= high:
        quality = (low + high) // 2
        data = write(quality)
        if count(data) <= limit:
            low, found = quality + 1, (quality, data)
        else:
            high = quality - 1
    return found


def _written(image: Image.Image, options: dict, quality: int) -> bytes:
    file = io.BytesIO()
    try:
        image.save(file, quality=quality, **options)
    except (KeyError, OSError) as error:
        raise InvalidArgument("codec", options["format"], f"one that this Pillow can write ({error})") from error
    return file.getvalue()


def _jpeg_scan(data: bytes) -> int:
    """Bytes between the header of the scan and the end-of-image marker (ITU-T T.81, annex B)."""
    place = 2
    while True:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] == _SCAN:
            return len(data) - place - 2 - length - 2
        place += 2 + length


def _webp_frame(data: bytes) -> int:
    """Bytes of the VP8 frame (RIFF: a name, a length, padded to even)."""
    place = 12
    while data[place : place + 4] != _FRAME:
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
    return int.from_bytes(data[place + 4 : place + 8], "little")


def _avif_media(data: bytes) -> int:
    """Bytes of the media data (ISO base media file: a length, a name)."""
    place = 0
    while data[place + 4 : place + 8] != _MEDIA:
        place += int.from_bytes(data[place : place + 4], "big")
    return int.from_bytes(data[place : place + 4], "big") - 8


CODECS: dict[str, tuple[dict, Callable[[bytes], int]]] = {
    "jpeg": ({"format": "JPEG", "subsampling": "4:2:0"}, _jpeg_scan),
    "webp": ({"format": "WEBP", "method": 6}, _webp_frame),
    "avif": ({"format": "AVIF", "subsampling": "4:2:0", "speed": 6, "max_threads": 1}, _avif_media),
}
