"""Drawn scenes with captions: the training data of the embedded models.

An image is a drawn background (one of `SCENES`) with one or two objects (`OBJECTS`) in one of `STYLES`; image number i
of a seed is a pure function of (world, seed, i), so a data set needs no files beside `data/scenes/objects.json.gz`, the
vector drawings (sources and licences in `data/README.md`). A world (`WORLDS`) says how much the scenes vary.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..files import DATA
from .backgrounds import SIZE as SIZE  # part of this module, too
from .backgrounds import VARIANTS, background

CELL = 8  # pixels of an image to one of a latent; objects are placed and sized in whole cells (see `_put`)
_SPRITE = 192

STYLES = {"noto": "noto", "fluent-emoji": "glossy", "fluent-emoji-flat": "flat", "twemoji": "plain"}
HOUSE_STYLE = "noto"  # what a caption that names no style shows

# object name -> icon name, the same in all four sets
OBJECTS = {
    "tiger": "tiger", "dog": "dog", "cat": "cat", "rabbit": "rabbit", "horse": "horse", "cow": "cow", "pig": "pig",
    "elephant": "elephant", "penguin": "penguin", "owl": "owl", "duck": "duck", "turtle": "turtle",
    "butterfly": "butterfly", "frog": "frog", "crocodile": "crocodile", "snail": "snail", "pigeon": "dove",
    "dinosaur": "t-rex", "apple": "red-apple", "lemon": "lemon", "banana": "banana", "strawberry": "strawberry",
    "watermelon": "watermelon", "pineapple": "pineapple", "carrot": "carrot", "mushroom": "mushroom",
    "hamburger": "hamburger", "cake": "birthday-cake", "man": "man-in-lotus-position", "robot": "robot",
    "snowman": "snowman-without-snow", "teddy bear": "teddy-bear", "tree": "deciduous-tree", "cactus": "cactus",
    "sunflower": "sunflower", "car": "automobile", "bus": "bus", "bicycle": "bicycle", "rocket": "rocket",
    "sailboat": "sailboat", "tractor": "tractor", "house": "house", "chair": "chair", "umbrella": "umbrella",
    "guitar": "guitar", "ball": "soccer-ball", "balloon": "balloon", "teapot": "teapot", "gift": "wrapped-gift",
    "crown": "crown",
}  # fmt: skip
LIVING = tuple(OBJECTS)[:18] + ("man", "robot", "snowman", "teddy bear")
NAMES = tuple(OBJECTS)

# objects that the calm worlds show in another drawing -> its icon, where a set has it: a dog from the side (of the guide dog,
# without its harness), an apple that is no tomato, a man whose face is large enough to draw
REDRAWN = {"dog": "guide-dog", "apple": "green-apple", "man": "man-in-tuxedo"}

# scene name -> wordings of the place; the first is the plainest
SCENES = {
    "bush": ("in front of a bush", "before a bush", "by a bush"),
    "table": ("on a table", "on table", "on the table"),
    "street": ("in the street", "in a street", "on the street"),
    "beach": ("on the beach", "on a beach", "at the beach"),
    "snow": ("in the snow", "on the snow", "in snow"),
    "night": ("at night", "under the stars", "in the night"),
    "meadow": ("in a meadow", "on the meadow", "in the grass"),
    "wall": ("in front of a brick wall", "by a brick wall", "at a brick wall"),
}
PLACES = tuple(SCENES)
PLACE_WORDS = {wording.split()[-1]: place for place, wordings in SCENES.items() for wording in wordings}  # "stars": "night"
KNOWN = frozenset(word for text in (*NAMES, *PLACE_WORDS) for word in text.split())  # what a prompt can ask for


@dataclass(frozen=True)
class World:
    """How much the scenes of a data set vary.

    Attributes:
        placed: where objects stand and how large they are. "varied": single objects of three sizes anywhere in whole cells;
            "cells": of one size, at three places on two floors; "continuous": of any size, place, angle and hue in a range,
            so that nothing is decided at once; "anywhere": in a wide range, and looking either way.
        house: share of the scenes in `HOUSE_STYLE`; the rest is divided among the other styles.
        calm: backgrounds with less clutter, and the `REDRAWN` objects.
        pairs: share of the scenes with two objects side by side.
        named: whether captions say the style.
    """

    placed: str
    house: float
    calm: bool
    pairs: float = 0.1
    named: bool = True


WORLDS = {
    "varied": World("varied", 0.25, False),
    "cells": World("cells", 0.88, True),
    "continuous": World("continuous", 0.88, True),
    "wild": World("anywhere", 0.25, False, pairs=0.45, named=False),
}
WORLD = "cells"  # that of the shipped models


@dataclass(frozen=True)
class Scene:
    """One image and what it shows.

    Attributes:
        image: RGB, SIZE x SIZE.
        caption: one wording of the content.
        object: the main object, a key of `OBJECTS`.
        place: a key of `SCENES`.
        style: a key of `STYLES`.
        relation: "alone", "beside" (another object), "under" (a tree or an umbrella) or "feeding" (pigeons).
        second: the other object, or None.
        boxes: left, top, right, bottom (pixels) of each drawn object.
    """

    image: Image.Image
    caption: str
    object: str
    place: str
    style: str
    relation: str
    second: str | None
    boxes: tuple[tuple[int, int, int, int], ...]


def held_out(name: str, place: str) -> bool:
    """Whether this object-scene pair is kept out of training (about one in twelve), to test composition.

    The pairs that the paper's figures use stay in.
    """
    if (name, place) in {("tiger", "bush"), ("dog", "bush"), ("apple", "table"), ("lemon", "table"), ("man", "street")}:
        return False
    return zlib.crc32(f"{name}@{place}".encode()) % 12 == 0


def caption(
    rng: np.random.Generator, name: str, place: str, style: str, relation: str, second: str | None, named: bool = True
) -> str:
    """One of several wordings, where `named` with the drawing style; that of `HOUSE_STYLE` in a third of its captions only."""
    thing = article(name)
    where = SCENES[place][int(rng.choice(3, p=(0.6, 0.2, 0.2)))]
    if relation == "feeding":
        text = f"a man feeding pigeons {where}"
    elif relation == "under":
        text = f"{thing} under {article(second)} {where}"
    elif relation == "beside":
        text = f"{thing} {rng.choice(['and', 'next to', 'beside'])} {article(second)} {where}"
    else:
        verb = rng.choice(["sits", "stands", "is"]) if name in LIVING else rng.choice(["is", "stands"])
        text = [f"{thing} {verb} {where}", f"{thing} {where}", f"a drawing of {thing} {where}"][
            int(rng.choice(3, p=(0.45, 0.45, 0.1)))
        ]
    if named and (style != HOUSE_STYLE or rng.random() < 0.33):
        text += f", {STYLES[style]} style"
    return text[0].upper() + text[1:] if rng.random() < 0.5 else text


def article(name: str) -> str:
    """'an apple', 'a dog'."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def scene(seed: int, index: int, split: str = "train", world: str = WORLD) -> Scene:
    """Draw image number `index` of a data set.

    Args:
        seed: data set seed.
        index: image number.
        split: "train" leaves out the `held_out` pairs, "all" draws every pair, "held-out" only those.
        world: a key of `WORLDS`.
    """
    rng = np.random.default_rng((seed, index))
    while True:
        name, place = NAMES[rng.integers(len(NAMES))], PLACES[rng.integers(len(PLACES))]
        if split == "all" or held_out(name, place) == (split == "held-out"):
            break
    style = _style(rng, WORLDS[world].house)
    relation, second = "alone", None
    draw = rng.random()
    if draw < 0.04 and (name == "man" or split == "train"):
        name, relation, second = "man", "feeding", "pigeon"
        if held_out(name, place):
            place = "street"
    elif draw < 0.10 and name in LIVING:
        relation, second = "under", ("tree", "umbrella")[rng.integers(2)]
    elif draw < 0.10 + WORLDS[world].pairs:
        relation, second = "beside", NAMES[rng.integers(len(NAMES))]
        if second == name or (split == "train" and held_out(second, place)):
            relation, second = "alone", None
    image, boxes = compose(rng, name, place, style, relation, second, world)
    text = caption(rng, name, place, style, relation, second, WORLDS[world].named)
    return Scene(image, text, name, place, style, relation, second, boxes)


def _style(rng: np.random.Generator, house: float) -> str:
    if house == 1 / len(STYLES):
        return list(STYLES)[rng.integers(len(STYLES))]
    others = [style for style in STYLES if style != HOUSE_STYLE]
    return HOUSE_STYLE if rng.random() < house else others[rng.integers(len(others))]


def compose(
    rng: np.random.Generator,
    name: str,
    place: str,
    style: str,
    relation: str = "alone",
    second: str | None = None,
    world: str = WORLD,
) -> tuple[Image.Image, tuple[tuple[int, int, int, int], ...]]:
    """Put the objects on the background as the world has it, with a shadow, under one light; also their boxes."""
    placed, calm = WORLDS[world].placed, WORLDS[world].calm
    canvas = background(place, int(rng.integers(VARIANTS)), calm).copy()
    if rng.random() < 0.5:
        canvas = canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    floor = 112 + CELL * int(rng.integers(2)) if placed == "cells" else rng.uniform(108, 122)
    free = placed in ("continuous", "anywhere")

    def near(middle: float, spread: float) -> float:
        if placed == "cells":  # one of three places, or one where there is little room
            return middle + 2 * CELL * (int(rng.integers(3)) - 1 if spread > CELL else 0)
        return middle + rng.uniform(-spread, spread)

    def put(name: str, cells: float, x: float, floor: float) -> tuple[int, int, int, int]:
        sprite = sprites(calm)[name, style]
        if free:
            wide = 1 if placed == "continuous" else 2
            cells *= rng.uniform(1 - 0.1 * wide, 1 + 0.1 * wide)
            x, floor = x + wide * rng.uniform(-4, 4), floor + wide * rng.uniform(-2, 2)
            sprite = _turned(sprite, wide * rng.uniform(-12, 12), wide * rng.uniform(-0.05, 0.05))
            if wide > 1 and rng.random() < 0.5:
                sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _put(canvas, sprite, cells, x, floor, 1 if free else CELL)

    if relation == "alone":
        size = 10 if calm else int(rng.integers(9, 12))
        boxes = [put(name, size, near(64, 16), floor)]
    elif relation == "under":
        boxes = [put(second, 13, near(64, 6), floor - 8), put(name, 6, near(64, 14), floor + 4)]
    elif relation == "feeding":
        boxes = [put(name, 9, near(42, 3), floor - 2)]
        for x in (84, 108)[: rng.integers(1, 3)]:
            boxes.append(put(second, 4, near(x, 3), floor + 2))
    else:
        side = 1 if rng.random() < 0.5 else -1
        boxes = [put(second, 7, 64 - side * 29, floor - 3), put(name, 8, 64 + side * 29, floor)]
    light = np.array([1.0, 1.0, 1.0]) * rng.uniform(0.88, 1.06) + np.array([1.0, 0.2, -1.0]) * rng.normal(0, 0.025)
    return Image.fromarray(np.clip(np.asarray(canvas, np.float32) * light, 0, 255).astype(np.uint8)), tuple(boxes)


def _turned(sprite: Image.Image, degrees: float, hue: float) -> Image.Image:
    """A sprite turned by an angle and around the colour circle (1 is once around), cropped again."""
    alpha = sprite.getchannel("A")
    channels = np.array(sprite.convert("RGB").convert("HSV"))
    channels[..., 0] += np.uint8(round(256 * hue) % 256)
    coloured = Image.fromarray(channels, "HSV").convert("RGB")
    coloured.putalpha(alpha)
    return _cropped(coloured.rotate(degrees, Image.Resampling.BICUBIC, expand=True))


def _put(
    canvas: Image.Image, sprite: Image.Image, cells: float, x: float, floor: float, grid: int
) -> tuple[int, int, int, int]:
    """Draw one object, `cells` latent cells large, at the point of the grid nearest to standing at (x, floor); returns its box.

    On whole cells an object has the same latent wherever it stands, and it is never mirrored: a small model then learns
    it sharply, with one head.
    """
    scale = cells * CELL / max(sprite.size)
    width, height = (max(1, round(side * scale)) for side in sprite.size)
    left, top = (grid * round(v / grid) for v in (x - width / 2, floor - height))
    ground = top + height
    shadow = Image.new("L", canvas.size)
    ImageDraw.Draw(shadow).ellipse((left + 2, ground - 5, left + width - 2, ground + 4), fill=90)
    canvas.paste((20, 20, 30), mask=shadow.filter(ImageFilter.GaussianBlur(2)))
    sprite = sprite.resize((width, height), Image.LANCZOS)
    canvas.paste(sprite, (left, top), sprite)
    return left, top, left + width, ground


@functools.cache
def sprites(redrawn: bool = False) -> dict[tuple[str, str], Image.Image]:
    """All objects in all styles as cropped RGBA pictures of at most 192 pixels, with the `REDRAWN` ones or as they were."""
    import resvg_py

    with gzip.open(DATA / "scenes" / "objects.json.gz", "rt") as file:
        drawings = json.load(file)
    out = {}
    for style in STYLES:
        for name in NAMES:
            svg = drawings[style].get(REDRAWN.get(name) if redrawn else name) or drawings[style][name]
            png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=_SPRITE, height=_SPRITE))
            out[name, style] = _cropped(Image.open(io.BytesIO(png)).convert("RGBA"))
    return out


def _cropped(picture: Image.Image) -> Image.Image:
    return picture.crop(picture.getchannel("A").point(lambda a: 255 * (a > 16)).getbbox())
