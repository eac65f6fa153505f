"""The form of `rlli_core.book.ratings` as a panel: it needs no kernel, sends nothing, and hands the reader a file."""

from __future__ import annotations

import base64

import anywidget
import traitlets

from .. import ratings
from .widget import STYLE, module


class RateYourself(anywidget.AnyWidget):
    """Ten statements about oneself, the pictures with a scale each, and a button that saves the file.

    What the file holds but for the answers comes from Python, so that its format is in one place.
    """

    _esm = module("common", "rate")
    _css = STYLE
    config = traitlets.Dict().tag(sync=True)

    def __init__(self) -> None:
        rows, count = ratings.rows(), len(ratings.STATEMENTS)
        told = [{"told": words, "row": row} for (_, _, words), row in zip(ratings.STATEMENTS, rows)]
        shown = [
            {"told": one.prompt, "row": row, "picture": f"data:image/webp;base64,{base64.b64encode(one.encoded).decode()}"}
            for one, row in zip(ratings.pictures(), rows[count:])
        ]
        config = {"head": ratings.head(), "answers": list(ratings.ANSWERS), "statements": told, "pictures": shown}
        super().__init__(config=config | {"highest": ratings.HIGHEST, "least": ratings.LEAST_RATED})

    def __repr__(self) -> str:
        """Without the address in memory: this text stands in the committed notebooks."""
        return "RateYourself()"
