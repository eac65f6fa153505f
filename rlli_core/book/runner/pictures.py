"""Makes the pictures in an executed notebook a third to a sixth in size, and says whether two pictures are the same.

Every PNG becomes one of 256 colours or fewer, at its own size. A drawing keeps its lines and letters: its most frequent
colours stay as they are, and with 256 colours or fewer all of them. Between the colours of a photograph a pattern of dots
mixes, so that gradients show no bands.
"""

import base64
import io

import nbformat
import numpy as np
from PIL import Image
from scipy.spatial import KDTree

PNG = "image/png"
COLOURS = 256  # as many as a palette PNG can have
_FREQUENT = 0.005  # of the pixels: a colour with as many stays exact
_ROUNDS = 8  # of k-means
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
    if picture.convert("RGBA").getextrema()[3][0] < 255:
        return png
    rgb = picture.convert("RGB")
    height, width = rgb.height, rgb.width
    codes = np.asarray(rgb, np.uint32).reshape(-1, 3) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found, where, counts = np.unique(codes, return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(float)
    if len(colours) <= COLOURS:
        palette, indices = colours, where
    else:
        palette = _palette(rgb, colours, counts)
        indices = _mixed(colours, palette, where, (height, width))
    small = Image.fromarray(indices.reshape(height, width).astype(np.uint8), "P")
    small.putpalette(palette.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    small.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _palette(rgb: Image.Image, colours: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The frequent colours, and others by k-means from a median cut; `colours` is (N, 3) with `counts` of pixels, (N,)."""
    fixed = colours[counts > _FREQUENT * counts.sum()]
    rest = COLOURS - len(fixed)
    start = rgb.quantize(rest, Image.Quantize.MEDIANCUT).getpalette()
    palette = np.concatenate([fixed, np.reshape(start, (-1, 3))[:rest]]).astype(float)
    # K-means over cells of 4 x 4 x 4 colours. By the root of their pixels, so that small things keep their colours too.
    _, cells = np.unique(colours.astype(np.uint32) // 4 @ np.array([1 << 12, 1 << 6, 1], np.uint32), return_inverse=True)
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
    share = (error * span).sum(1) / np.maximum((span**2).sum(1), 1)
    pattern = np.zeros((1, 1))
    for _ in range(3):  # Bayer's matrix, 8 x 8
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    height, width = shape
    limits = np.tile((pattern + 0.5) / 64, (height // 8 + 1, width // 8 + 1))[:height, :width].ravel()
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
