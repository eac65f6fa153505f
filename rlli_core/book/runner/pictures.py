"""Makes the pictures in an executed notebook a third to a sixth in size, and says whether two pictures are the same.

Every PNG becomes one with a palette, at its own size, photographs no wider than `WIDEST`. A drawing keeps its lines and letters: its most frequent colours stay as
they are, and if it has no more than the palette can hold, all of them. Between the colours of a photograph a pattern of dots
mixes, so that gradients show no bands.
"""

import base64
import io

import nbformat
import numpy as np
from PIL import Image
from scipy.spatial import KDTree

PNG = "image/png"
WIDEST = 1200  # pixels of a photograph, on pages that show 760
COLOURS = 256  # as many as a palette of a PNG can hold
_CODE = np.array([1 << 16, 1 << 8, 1], np.uint32)  # a colour in one number
_ROUNDS = 8  # of k-means
_COARSE = 12  # between two colours of the palette (distance in RGB): where they are nearer, no pattern is needed
_STRENGTH = 0.85  # of the pattern; at 1 the mean is kept best, but dots pack badly
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
_LEVELS = 12  # of a colour; see `alike`
_BLOCK = 4  # pixels


def slim(notebook: nbformat.NotebookNode) -> None:
    """Encode the PNG outputs of `notebook` anew, where that makes them smaller."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if PNG in output.get("data", {}):
                before = base64.b64decode(output.data[PNG])
                after = encoded(before)
                if len(after) < len(before):
                    output.data[PNG] = base64.b64encode(after).decode()


def encoded(png: bytes) -> bytes:
    """The PNG picture with a palette; as it is if parts of it are transparent."""
    picture = Image.open(io.BytesIO(png))
    if np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
        return png
    rgb = picture.convert("RGB")
    found, where, counts = np.unique(np.asarray(rgb, np.uint32).reshape(-1, 3) @ _CODE, return_inverse=True, return_counts=True)
    colours = _colours(found)
    if len(colours) <= COLOURS:
        shown = found[where]
    elif counts[counts > 0.005 * counts.sum()].sum() > counts.sum() / 2:  # a drawing: most of it is paper and a few inks
        palette = _palette(rgb, colours, counts, 0.0003)
        shown = (palette.astype(np.uint32) @ _CODE)[KDTree(palette).query(colours)[1]][where]
    elif rgb.width > WIDEST:
        smaller, buffer = rgb.resize((WIDEST, round(rgb.height * WIDEST / rgb.width)), Image.Resampling.LANCZOS), io.BytesIO()
        smaller.save(buffer, "png")
        return encoded(buffer.getvalue())
    else:
        palette = _palette(rgb, colours, counts, 0.005)
        shown = (palette.astype(np.uint32) @ _CODE)[_mixed(colours, palette, where, (rgb.height, rgb.width))]
    used, indices = np.unique(shown, return_inverse=True)
    small = Image.fromarray(indices.reshape(rgb.height, rgb.width).astype(np.uint8), "P")
    small.putpalette(_colours(used).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    small.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _colours(codes: np.ndarray) -> np.ndarray:
    """Red, green and blue, (N, 3), of colours in one number each, (N,)."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(float)


def _palette(rgb: Image.Image, colours: np.ndarray, counts: np.ndarray, frequent: float) -> np.ndarray:
    """The most frequent colours as they are, and others by k-means from a median cut.

    Args:
        colours, counts: (N, 3), and how many pixels each has, (N,).
        frequent: share of the pixels from which on a colour stays as it is; half of the palette at most.
    """
    order = np.argsort(-counts, kind="stable")[: COLOURS // 2]
    fixed = colours[order[counts[order] > frequent * counts.sum()]]
    rest = COLOURS - len(fixed)
    start = rgb.quantize(rest, Image.Quantize.MEDIANCUT).getpalette() or []
    palette = np.concatenate([fixed, np.reshape(np.array(start, float), (-1, 3))[:rest]])
    # K-means over cells of 4 x 4 x 4 colours. By the root of their pixels, so that small things keep their colours too.
    _, cells = np.unique(colours.astype(np.uint32) // 4 @ _CODE, return_inverse=True)
    pixels = np.bincount(cells, counts)
    means = np.stack([np.bincount(cells, counts * channel) for channel in colours.T], axis=1) / pixels[:, None]
    weights = np.sqrt(pixels)
    for _ in range(_ROUNDS):
        nearest = KDTree(palette).query(means)[1]
        total = np.bincount(nearest, weights, minlength=len(palette))
        moving = (total > 0) & (np.arange(len(palette)) >= len(fixed))
        sums = np.stack([np.bincount(nearest, weights * channel, minlength=len(palette)) for channel in means.T], axis=1)
        palette[moving] = sums[moving] / total[moving, None]
    return palette.round()


def _mixed(colours: np.ndarray, palette: np.ndarray, where: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Number in the palette of each pixel; `where` is the number of its colour, (pixels,).

    A pixel takes the nearest colour or the one beyond its own, the nearer its own is to that the oftener, by an ordered
    pattern: such a pattern packs better than noise or diffused errors.
    """
    tree = KDTree(palette)
    near = tree.query(colours)[1]
    error = colours - palette[near]
    beyond = tree.query(colours + error)[1]
    span = palette[beyond] - palette[near]
    distance = (span**2).sum(1)
    share = np.where(distance < _COARSE**2, 0, _STRENGTH * (error * span).sum(1) / np.maximum(distance, 1))
    height, width = shape
    limits = np.tile((_BAYER + 0.5) / 16, (height // 4 + 1, width // 4 + 1))[:height, :width].ravel()
    return np.where(share[where] > limits, beyond[where], near[where])


def alike(one: str, other: str) -> bool:
    """Whether two pictures, PNG in base64, are the same to the eye.

    They are if they have the same size and no block of 4 x 4 pixels differs by more than 12 of 255 in the mean of a colour.
    What rounding on another machine changes, here and there a pixel by a level and the dots of the pattern with it, stays
    below 11 (measured); a line that moves by one pixel changes a block by 60 or more.
    """
    first, second = (np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), float) for png in (one, other))
    if first.shape != second.shape:
        return False
    difference = first - second
    height, width = (-(-side // _BLOCK) * _BLOCK for side in difference.shape[:2])
    padded = np.zeros((height, width, 3))
    padded[: difference.shape[0], : difference.shape[1]] = difference
    blocks = padded.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, 3).mean((1, 3))
    return bool(np.abs(blocks).max() <= _LEVELS)
