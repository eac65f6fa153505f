"""The one door through which pictures enter: as a viewer shows them, whatever is in the file."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from ..errors import InvalidArgument

_ORIENTATION = 0x0112  # the tag of EXIF that says how a camera was held
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # greys of 16 bits; older files of Pillow's mode "I" hold them too


def as_seen(image: object, name: str = "image") -> Image.Image:
    """Return a picture as 8-bit RGB, as a viewer shows it on a white page.

    Turned as its EXIF orientation says, transparent parts white, 16-bit greys scaled to 8 bits, grey numbers of a floating-point
    picture taken from 0 to 1, all other modes (palette, grey, CMYK, ...) by Pillow's conversion. Of an animation, the frame that it
    stands at. An RGB picture that needs none of this comes back itself.

    Raises:
        InvalidArgument: no picture, one without pixels, closed or broken off, or floating-point greys outside 0 to 1.
    """
    if not isinstance(image, Image.Image):
        raise InvalidArgument(name, type(image).__name__, "a PIL image")
    if 0 in image.size:
        raise InvalidArgument(name, f"a picture of {image.width}x{image.height} pixels", "at least 1x1 pixels")
    try:
        image.load()
        turned = image.getexif().get(_ORIENTATION, 1) != 1
        seen = ImageOps.exif_transpose(image) if turned else image
    except (OSError, ValueError, AttributeError, SyntaxError) as error:
        raise InvalidArgument(name, f"unreadable ({error})", "an open, whole picture; open the file again") from error
    if seen.mode == "RGB" and "transparency" not in seen.info:
        return seen
    if seen.mode in _DEEP:
        return _grey(np.asarray(seen).astype(float) / 65535)
    if seen.mode == "F":
        grey = np.asarray(seen)
        if not (np.isfinite(grey) & (grey >= 0) & (grey <= 1)).all():
            raise InvalidArgument(name, "floating-point greys outside 0 to 1", "scaled to 0 to 1, or a picture of 8 bits")
        return _grey(grey)
    if seen.has_transparency_data:
        seen = seen.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    return seen.convert("RGB")


def _grey(values: np.ndarray) -> Image.Image:
    """(h, w) in [0, 1] -> RGB."""
    return Image.fromarray((values * 255).round().astype(np.uint8)).convert("RGB")
