"""Drawn scenes with captions: the training data of the embedded models.

An image is a drawn background (one of `SCENES`) with one or two objects (`OBJECTS`) in one of `STYLES`; image number i
of a seed is a pure function of (seed, i), so a data set needs no files beside `data/scenes/objects.json.gz`, the
vector drawings (sources and licences in `data/README.md`).
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

SIZE = 128
CELL = 8  # pixels of an image to one of a latent; objects are placed and sized in whole cells (see `_put`)
_SPRITE = 192
_BACKGROUNDS = 96

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


def caption(rng: np.random.Generator, name: str, place: str, style: str, relation: str, second: str | None) -> str:
    """One of several wordings, with the drawing style named; that of `HOUSE_STYLE` in a third of its captions only."""
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
    if style != HOUSE_STYLE or rng.random() < 0.33:
        text += f", {STYLES[style]} style"
    return text[0].upper() + text[1:] if rng.random() < 0.5 else text


def article(name: str) -> str:
    """'an apple', 'a dog'."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def scene(seed: int, index: int, split: str = "train") -> Scene:
    """Draw image number `index` of a data set.

    Args:
        seed: data set seed.
        index: image number.
        split: "train" leaves out the `held_out` pairs, "all" draws every pair, "held-out" only those.
    """
    rng = np.random.default_rng((seed, index))
    while True:
        name, place = NAMES[rng.integers(len(NAMES))], PLACES[rng.integers(len(PLACES))]
        if split == "all" or held_out(name, place) == (split == "held-out"):
            break
    style = list(STYLES)[rng.integers(len(STYLES))]
    relation, second = "alone", None
    draw = rng.random()
    if draw < 0.04 and (name == "man" or split == "train"):
        name, relation, second = "man", "feeding", "pigeon"
        if held_out(name, place):
            place = "street"
    elif draw < 0.10 and name in LIVING:
        relation, second = "under", ("tree", "umbrella")[rng.integers(2)]
    elif draw < 0.20:
        relation, second = "beside", NAMES[rng.integers(len(NAMES))]
        if second == name or (split == "train" and held_out(second, place)):
            relation, second = "alone", None
    image, boxes = compose(rng, name, place, style, relation, second)
    return Scene(image, caption(rng, name, place, style, relation, second), name, place, style, relation, second, boxes)


def compose(
    rng: np.random.Generator, name: str, place: str, style: str, relation: str = "alone", second: str | None = None
) -> tuple[Image.Image, tuple[tuple[int, int, int, int], ...]]:
    """Put the objects on the background at varied place and size, with a shadow, under one light; also their boxes."""
    canvas = background(place, int(rng.integers(_BACKGROUNDS))).copy()
    if rng.random() < 0.5:
        canvas = canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    floor = rng.uniform(108, 122)
    if relation == "alone":
        boxes = [_put(canvas, name, style, int(rng.integers(9, 12)), rng.uniform(48, 80), floor)]
    elif relation == "under":
        boxes = [
            _put(canvas, second, style, 13, 64 + rng.uniform(-6, 6), floor - 8),
            _put(canvas, name, style, 6, 64 + rng.uniform(-14, 14), floor + 4),
        ]
    elif relation == "feeding":
        boxes = [_put(canvas, name, style, 9, 42 + rng.uniform(-3, 3), floor - 2)]
        for x in (84, 108)[: rng.integers(1, 3)]:
            boxes.append(_put(canvas, second, style, 4, x + rng.uniform(-3, 3), floor + 2))
    else:
        side = 1 if rng.random() < 0.5 else -1
        boxes = [
            _put(canvas, second, style, 7, 64 - side * 29, floor - 3),
            _put(canvas, name, style, 8, 64 + side * 29, floor),
        ]
    light = np.array([1.0, 1.0, 1.0]) * rng.uniform(0.88, 1.06) + np.array([1.0, 0.2, -1.0]) * rng.normal(0, 0.025)
    return Image.fromarray(np.clip(np.asarray(canvas, np.float32) * light, 0, 255).astype(np.uint8)), tuple(boxes)


def _put(canvas: Image.Image, name: str, style: str, cells: int, x: float, floor: float) -> tuple[int, int, int, int]:
    """Draw one object, `cells` latent cells large, in the cell nearest to standing at (x, floor); returns its box.

    On whole cells an object has the same latent wherever it stands, and it is never mirrored: a small model then learns
    it sharply, with one head.
    """
    sprite = sprites()[name, style]
    scale = cells * CELL / max(sprite.size)
    width, height = (max(1, round(side * scale)) for side in sprite.size)
    left, top = (CELL * round(v / CELL) for v in (x - width / 2, floor - height))
    ground = top + height
    shadow = Image.new("L", canvas.size)
    ImageDraw.Draw(shadow).ellipse((left + 2, ground - 5, left + width - 2, ground + 4), fill=90)
    canvas.paste((20, 20, 30), mask=shadow.filter(ImageFilter.GaussianBlur(2)))
    sprite = sprite.resize((width, height), Image.LANCZOS)
    canvas.paste(sprite, (left, top), sprite)
    return left, top, left + width, ground


@functools.cache
def sprites() -> dict[tuple[str, str], Image.Image]:
    """All objects in all styles as cropped RGBA pictures of at most 192 pixels."""
    import resvg_py

    with gzip.open(DATA / "scenes" / "objects.json.gz", "rt") as file:
        drawings = json.load(file)
    out = {}
    for style in STYLES:
        for name in NAMES:
            png = bytes(resvg_py.svg_to_bytes(svg_string=drawings[style][name], width=_SPRITE, height=_SPRITE))
            picture = Image.open(io.BytesIO(png)).convert("RGBA")
            out[name, style] = picture.crop(picture.getchannel("A").point(lambda a: 255 * (a > 16)).getbbox())
    return out


@functools.cache
def background(place: str, variant: int) -> Image.Image:
    """One of the drawn backgrounds of a place, with varied colours, horizon and details."""
    rng = np.random.default_rng((zlib.crc32(place.encode()), variant))
    big = 2 * SIZE  # drawn at twice the size, then reduced: smooth edges
    canvas = Image.new("RGB", (big, big))
    draw = ImageDraw.Draw(canvas)
    horizon = int(rng.uniform(0.52, 0.68) * big)

    def tone(r: float, g: float, b: float, spread: float = 10) -> tuple[int, int, int]:
        return tuple(int(np.clip(c + rng.normal(0, spread), 0, 255)) for c in (r, g, b))

    def fade(top: int, bottom: int, first: tuple, last: tuple) -> None:
        for y in range(top, bottom):
            w = (y - top) / max(1, bottom - top)
            draw.line((0, y, big, y), fill=tuple(round(a + w * (b - a)) for a, b in zip(first, last)))

    def blobs(count: int, y: tuple, radius: tuple, *colours: tuple) -> None:
        for _ in range(count):
            r, cx, cy = rng.uniform(*radius), rng.uniform(-10, big + 10), rng.uniform(*y)
            draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=colours[rng.integers(len(colours))])

    day = tone(150, 200, 240), tone(215, 235, 250)
    if place == "bush":
        fade(0, big, *day)
        greens = tone(52, 120, 50), tone(68, 140, 60), tone(42, 102, 46)
        blobs(26, (horizon - 70, horizon + 20), (26, 44), *greens)
        fade(horizon + 20, big, tone(150, 190, 90), tone(120, 165, 75))
    elif place == "table":
        fade(0, horizon, tone(235, 222, 200, 14), tone(222, 205, 180, 14))
        fade(horizon, big, tone(176, 116, 66), tone(140, 88, 48))
        for y in np.arange(horizon + 22, big, 30):
            draw.line((0, y, big, y), fill=tone(128, 78, 42, 3), width=2)
        draw.rectangle((0, horizon - 4, big, horizon + 2), fill=tone(110, 66, 36, 4))
    elif place == "street":
        fade(0, horizon, *day)
        x = -int(rng.uniform(0, 40))
        while x < big:
            w, h = int(rng.uniform(44, 74)), int(rng.uniform(70, 150))
            wall = tone(*((190, 120, 100), (170, 170, 185), (205, 180, 140), (140, 150, 170))[rng.integers(4)], 8)
            draw.rectangle((x, horizon - h, x + w, horizon), fill=wall)
            for wy in range(horizon - h + 12, horizon - 18, 26):
                for wx in range(x + 9, x + w - 14, 20):
                    draw.rectangle((wx, wy, wx + 9, wy + 13), fill=(250, 235, 170))
            x += w + 3
        fade(horizon, big, tone(105, 105, 112, 6), tone(85, 85, 92, 6))
        middle = (horizon + big) // 2 + 8
        for x in range(int(rng.uniform(-40, 0)), big, 70):
            draw.rectangle((x, middle, x + 38, middle + 7), fill=(235, 235, 225))
    elif place == "beach":
        fade(0, horizon - 36, *day)
        fade(horizon - 36, horizon + 6, tone(40, 130, 190), tone(80, 190, 215))
        draw.rectangle((0, horizon + 3, big, horizon + 9), fill=(240, 248, 250))
        fade(horizon + 9, big, tone(240, 216, 160, 6), tone(225, 195, 135, 6))
        r, cx = 20, rng.uniform(30, big - 30)
        draw.ellipse((cx - r, 22, cx + r, 22 + 2 * r), fill=(255, 225, 100))
    elif place == "snow":
        fade(0, big, tone(175, 195, 220, 8), tone(215, 226, 240, 8))
        for x in np.arange(rng.uniform(0, 40), big, 64):
            h, fir = rng.uniform(60, 100), tone(60, 105, 100, 6)
            draw.polygon(((x, horizon - h), (x - 24, horizon + 8), (x + 24, horizon + 8)), fill=fir)
        fade(horizon, big, (246, 249, 253), tone(226, 234, 246, 4))
        blobs(26, (0, horizon), (2, 4), (255, 255, 255))
    elif place == "night":
        fade(0, horizon, tone(16, 20, 58, 6), tone(48, 48, 104, 8))
        blobs(30, (0, horizon - 10), (1.5, 3.2), (255, 250, 215))
        r, cx, cy = 24, rng.uniform(36, big - 36), rng.uniform(36, 70)
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=(250, 240, 195))
        fade(horizon, big, tone(26, 44, 52, 5), tone(16, 28, 38, 5))
    elif place == "meadow":
        fade(0, horizon, *day)
        draw.ellipse((-90, horizon - 40, big * 0.7, horizon + 90), fill=tone(140, 195, 95))
        draw.ellipse((big * 0.35, horizon - 30, big + 100, horizon + 90), fill=tone(125, 182, 85))
        fade(horizon + 6, big, tone(126, 196, 80), tone(96, 168, 62))
        blobs(22, (horizon + 16, big), (3, 5.5), (250, 240, 120), (245, 130, 150), (250, 250, 250))
    else:
        brick, mortar = tone(178, 88, 70, 10), tone(212, 196, 182, 6)
        draw.rectangle((0, 0, big, horizon + 30), fill=mortar)
        for row, y in enumerate(range(-4, horizon + 30, 26)):
            for x in range(-56 + 28 * (row % 2), big, 56):
                draw.rectangle((x, y, x + 51, y + 21), fill=tuple(int(c + rng.normal(0, 5)) for c in brick))
        fade(horizon + 30, big, tone(165, 160, 155, 6), tone(140, 136, 132, 6))
    return canvas.resize((SIZE, SIZE), Image.LANCZOS)
