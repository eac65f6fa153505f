"""The book's figures: data in, axes out, no computation.

All take the same look: seaborn's colour-blind palette on a white grid. Bands and bars are the 95 % intervals of the mean that
`rlli_core.book.intervals` gives for the prose.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from PIL import Image
from scipy.stats import sem, t


def student(values: Sequence[float]) -> tuple[float, float]:
    """Ends of Student's 95 % interval of the mean of independent values; of a single one, itself twice."""
    sample = np.asarray(values, float)
    half = float(t.ppf(0.975, len(sample) - 1) * sem(sample)) if len(sample) > 1 else 0.0
    return float(sample.mean() - half), float(sample.mean() + half)


BAND = {"errorbar": student, "marker": "o", "markersize": 4.5}


def canvas(columns: int, width: float = 4.2, height: float = 3.2, rows: int = 1, **kwargs) -> np.ndarray:
    """Empty axes side by side, row after row, in the book's look; sizes in inches each."""
    sns.set_theme("paper", "whitegrid", "colorblind", font_scale=1.1, rc={"figure.dpi": 130, "legend.framealpha": 0.9})
    size = (width * columns, height * rows)
    _, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **kwargs)
    return axes.ravel()


def image_grid(
    images: Sequence[Sequence[Image.Image]],
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    notes: Sequence[Sequence[str]] | None = None,
    size: float = 1.3,
) -> np.ndarray:
    """Images in rows, with column heads, row heads and a note under each; None leaves a place empty.

    Args:
        images: rows of equally many images.
        size: of one image in inches.
    """
    height, width = len(images), max(map(len, images))
    sns.set_theme("paper", "white", "colorblind", rc={"figure.dpi": 130})
    note_room = 0.22 * (notes is not None)
    _, axes = plt.subplots(
        height, width, figsize=(width * size, height * (size + note_room) + 0.25), squeeze=False, layout="constrained"
    )
    for r, c in np.ndindex(axes.shape):
        ax = axes[r, c]
        ax.set(xticks=[], yticks=[])
        sns.despine(ax=ax, left=True, bottom=True)
        if c < len(images[r]) and images[r][c] is not None:
            ax.imshow(images[r][c], interpolation="lanczos")
            if notes is not None:
                ax.set_xlabel(textwrap.fill(notes[r][c], round(17 * size)), fontsize=8, labelpad=3)
        if r == 0 and c < len(columns):
            ax.set_title(textwrap.fill(columns[c], round(14 * size)), fontsize=9)
        if c == 0 and r < len(rows):
            ax.set_ylabel(rows[r], fontsize=9)
    return axes
