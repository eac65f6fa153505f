"""Drawn backgrounds of the scenes, one function of place and variant."""

from __future__ import annotations

import functools
import zlib

import numpy as np
from PIL import Image, ImageDraw

SIZE = 128
VARIANTS = 96
GRID = 16  # a latent cell at the size that is drawn at


@functools.cache
def background(place: str, variant: int, calm: bool = False) -> Image.Image:
    """One of the drawn backgrounds of a place, with varied colours, horizon and details.

    Args:
        place: a key of `scenes.SCENES`.
        variant: below `VARIANTS`.
        calm: with fewer and larger details, and edges on whole latent cells: less behind an object that looks like a part of it,
            and less for a generator to draw.
    """
    rng = np.random.default_rng((zlib.crc32(place.encode()), variant))
    big = 2 * SIZE  # drawn at twice the size, then reduced: smooth edges
    canvas = Image.new("RGB", (big, big))
    draw = ImageDraw.Draw(canvas)
    horizon = int(rng.uniform(0.52, 0.68) * big)
    if calm:
        horizon = GRID * round(horizon / GRID)

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
        if calm:
            x = GRID * round(x / GRID)
        while x < big:
            w, h = int(rng.uniform(44, 74)), int(rng.uniform(70, 150))
            if calm:
                w, h = 62, GRID * round(h / GRID)
            wall = tone(*((190, 120, 100), (170, 170, 185), (205, 180, 140), (140, 150, 170))[rng.integers(4)], 8)
            draw.rectangle((x, horizon - h, x + w, horizon), fill=wall)
            for wy in range(horizon - h + 12, horizon - 18, 32 if calm else 26):
                for wx in range(x + 9, x + w - 14, 32 if calm else 20):
                    draw.rectangle((wx, wy, wx + (13 if calm else 9), wy + 13), fill=(250, 235, 170))
            x += w + (2 if calm else 3)
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
        blobs(9 if calm else 26, (0, horizon), (3, 4) if calm else (2, 4), (255, 255, 255))
    elif place == "night":
        fade(0, horizon, tone(16, 20, 58, 6), tone(48, 48, 104, 8))
        blobs(12 if calm else 30, (0, horizon - 10), (2.4, 3.2) if calm else (1.5, 3.2), (255, 250, 215))
        r, cx, cy = 24, rng.uniform(36, big - 36), rng.uniform(36, 70)
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=(250, 240, 195))
        fade(horizon, big, tone(26, 44, 52, 5), tone(16, 28, 38, 5))
    elif place == "meadow":
        fade(0, horizon, *day)
        draw.ellipse((-90, horizon - 40, big * 0.7, horizon + 90), fill=tone(140, 195, 95))
        draw.ellipse((big * 0.35, horizon - 30, big + 100, horizon + 90), fill=tone(125, 182, 85))
        fade(horizon + 6, big, tone(126, 196, 80), tone(96, 168, 62))
        flowers = (250, 240, 120), (245, 130, 150), (250, 250, 250)
        blobs(10 if calm else 22, (horizon + 16, big), (4, 5.5) if calm else (3, 5.5), *flowers)
    else:
        brick, mortar = tone(178, 88, 70, 10), tone(212, 196, 182, 6)
        draw.rectangle((0, 0, big, horizon + (32 if calm else 30)), fill=mortar)
        wide, high = (64, 32) if calm else (56, 26)
        for row, y in enumerate(range(0 if calm else -4, horizon + 30, high)):
            for x in range(-wide + wide // 2 * (row % 2), big, wide):
                draw.rectangle((x, y, x + wide - 5, y + high - 5), fill=tuple(int(c + rng.normal(0, 5)) for c in brick))
        fade(horizon + (32 if calm else 30), big, tone(165, 160, 155, 6), tone(140, 136, 132, 6))
    return canvas.resize((SIZE, SIZE), Image.LANCZOS)
