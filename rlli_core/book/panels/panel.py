"""A panel of a few sliders over pictures and tables: live in JupyterLab and Voila, and without a kernel on the built page.

For the page, a run of the notebook works out what the panel shows at some places of every control, its stops: a lattice of
frames, which `make book` puts beside the page.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import traitlets
from matplotlib.axes import Axes
from PIL import Image

from ...errors import InvalidArgument, RlliError
from ...files import FRAMES
from .widget import STYLE, Answering, module

WIDTH_PX = 760  # of a drawn figure on the page; it has twice as many pixels, for screens of double density
COLOURS = 128  # of a drawn figure: a palette makes it a third in size


@dataclass(frozen=True)
class Control:
    """One control: `values` it can take, told as `texts`; where it begins; and its `stops`, the places it has on the page."""

    label: str
    values: tuple
    texts: tuple[str, ...]
    start: object
    stops: tuple
    choice: bool = False


@dataclass(frozen=True)
class Part:
    """One of the things that a panel shows side by side.

    Args:
        picture: or None for words alone.
        text: HTML, below the picture.
        alt: what a reader who cannot see the picture should know; by default the text and the panel's line.
        width: of the picture in CSS pixels.
    """

    picture: Image.Image | None = None
    text: str = ""
    alt: str = ""
    width: int = WIDTH_PX


Shown = tuple[str, Sequence[Part]]
"""A line of text, and what is above it."""


def slider(label: str, values: Iterable[float], start: float, stops: Iterable[float] = (), show: str = "{:g}") -> Control:
    """A slider over numbers, each told by the format `show`.

    Where it begins is always a value, and takes the place of the nearest stop, so that the lattice keeps its size.
    """
    known, stops = sorted({*values, start}), sorted({*stops})
    _check_stops(label, stops, known)
    near = min(stops, key=lambda stop: abs(stop - start), default=start)
    stops = sorted({*stops, start} - ({near} - {start}))
    return Control(label, tuple(known), tuple(show.format(value) for value in known), start, tuple(stops))


def choice(label: str, values: Iterable[str], start: str | None = None, stops: Iterable[str] = ()) -> Control:
    """A choice among names, beginning with the first one unless `start` says which."""
    known = tuple(values)
    start = known[0] if start is None else start
    _check_stops(label, wanted := {*stops, start}, known)
    return Control(label, known, known, start, tuple(value for value in known if value in wanted), choice=True)


def span(low: float, high: float, step: float) -> list[float]:
    """Numbers from `low` to `high`, both included."""
    return [round(low + i * step, 9) for i in range(round((high - low) / step) + 1)]


def drawn(axes: Axes, layout: list, width: int = WIDTH_PX) -> Image.Image:
    """The figure of `axes` as a picture that is crisp at `width` CSS pixels on a screen of double density; closes the figure.

    Args:
        layout: where the axes are; empty for the first picture of a panel, which fills it. So the axes stand still when a slider
            moves, and only the first picture takes the time to lay them out, which is more than the drawing.
    """
    figure = axes.figure
    figure.dpi = 2 * width / figure.get_figwidth()
    if layout:
        figure.set_layout_engine("none")
        for one, place in zip(figure.axes, layout, strict=True):
            one.set_position(place)
    figure.canvas.draw()
    layout[:] = [one.get_position() for one in figure.axes]
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    plt.close(figure)
    return picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


class Panel(Answering):
    """Controls over pictures and tables over a line of text.

    Args:
        controls: by the name under which `update` takes their values.
        update: takes a value of each control, returns what is shown. An `RlliError` is told in the line, and the last
            pictures stay.
        together: the same for a list of settings at once, where that is cheaper than one after the other.

    Raises:
        InvalidArgument: no controls.
    """

    _esm = module("common", "panel")
    _css = STYLE
    config = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        controls: Mapping[str, Control],
        update: Callable[..., Shown],
        together: Callable[[list[dict]], Iterable[Shown]] | None = None,
    ):
        if not controls:
            raise InvalidArgument("controls", controls, "one control at least")
        self.controls, self.update, self.together = dict(controls), update, together
        folder = os.environ.get(FRAMES)  # a run sets it; else no frames are worked out
        name = self._write(Path(folder)) if folder else ""
        super().__init__(config={"name": name, "controls": [_told(control) for control in controls.values()]})

    def __repr__(self) -> str:
        return f"Panel({', '.join(control.label for control in self.controls.values())})"

    def settings(self) -> list[dict]:
        """The lattice: every combination of stops, the last control's changing fastest."""
        return [dict(zip(self.controls, values)) for values in product(*(c.stops for c in self.controls.values()))]

    def _respond(self, number: int, content: dict) -> str:
        values = {name: control.values[i] for (name, control), i in zip(self.controls.items(), content["state"], strict=True)}
        line, parts = self.update(**values)
        buffers, told = [], []
        for part in parts:
            told.append(
                {"width": part.width, "text": part.text, "alt": part.alt, "picture": len(buffers) if part.picture else -1}
            )
            if part.picture:
                buffers.append(_encoded(part.picture, "png", compress_level=1))
        self._check(number)
        self.send({"id": number, "kind": "shown", "parts": told}, buffers)
        return line

    def _write(self, notebook: Path) -> str:
        """Work out the lattice into a new folder of the notebook's; returns its name, notebook/number."""
        notebook.mkdir(parents=True, exist_ok=True)
        folder = notebook / str(len(list(notebook.iterdir())) + 1)
        folder.mkdir()
        name, lattice = f"{notebook.name}/{folder.name}", self.settings()
        shown = self.together(lattice) if self.together else map(self._or_why_not, lattice)
        texts, pictures, parts = {}, {}, {}  # each one once, with its number
        frames = [
            (_number(texts, line), *(_number(parts, _stored(part, folder, pictures, texts)) for part in made))
            for line, made in shown
        ]
        index = json.dumps({"texts": list(texts), "parts": list(parts), "frames": frames}, separators=(",", ":"))
        # A script, because a page that was opened as a file may load scripts but not read data.
        (folder / "index.js").write_text(f"(globalThis.rlliPanels ??= {{}})[{json.dumps(name)}] = {index};\n", encoding="utf-8")
        return name

    def _or_why_not(self, values: dict) -> Shown:
        try:
            return self.update(**values)
        except RlliError as error:
            return str(error), ()


def _told(control: Control) -> dict:
    where = control.values.index
    return {
        "label": control.label, "choice": control.choice, "texts": list(control.texts),
        "start": where(control.start), "stops": list(map(where, control.stops)),
    }  # fmt: skip


def _stored(part: Part, folder: Path, pictures: dict, texts: dict) -> tuple[int, int, int, int]:
    """The part as numbers: of its picture, which is written if it is new, its width, and its texts."""
    place = -1
    if part.picture:
        count = len(pictures)
        place = _number(pictures, hashlib.sha256(part.picture.convert("RGB").tobytes()).digest())
        if place == count:
            (folder / f"{place}.webp").write_bytes(_encoded(part.picture, "webp", lossless=True, quality=50, method=4))
    return place, part.width, _number(texts, part.text), _number(texts, part.alt)


def _number(known: dict, one: object) -> int:
    return known.setdefault(one, len(known))


def _encoded(picture: Image.Image, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def _check_stops(label: str, stops: Iterable, known: Sequence) -> None:
    for stop in stops:
        if stop not in known:
            allowed = ", ".join(map(str, known)) if len(known) < 20 else f"{known[0]} to {known[-1]} in the control's steps"
            raise InvalidArgument(f"stops of {label}", stop, f"among {allowed}")
