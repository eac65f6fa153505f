"""Pictures of the split chain for the persona agent to learn from: good ones, and ones spoilt in every way the paper has."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..channel import Link
from ..diffusion.split import SplitDiffusion
from ..diffusion.sweep import Run, run_sweep
from ..files import WORK, model_folder, whole
from . import scenes
from .training import workers

CHUNK = 160  # pictures that are drawn together: enough of each length for whole batches
BEPS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15)


@dataclass(frozen=True)
class Asked:
    """What server and device were asked for: object, place and drawing style of each, keys of `scenes`."""

    server: tuple[str, str]
    device: tuple[str, str]
    style: str


def split_pictures(seed: int, count: int) -> tuple[np.ndarray, list[Asked], list[dict]]:
    """Images (count, 128, 128, 3) uint8 of the split chain, what each was asked for, and the plan it was made with.

    A quarter is made as it should be, a quarter with bit errors, a sixth in too few steps, and a third is switched to
    another prompt on the way, half of these with bit errors as well. Kept in `WORK` for each state of the generator,
    in chunks, so that an interrupted run goes on; `torchrun` shares the chunks out.
    """
    weights = model_folder("embedded-sd") / "unet" / "diffusion_pytorch_model.safetensors"
    folder = WORK / "pictures" / f"{seed}-{zlib.crc32(weights.read_bytes()):08x}"
    folder.mkdir(parents=True, exist_ok=True)
    chunks, team = range(-(-count // CHUNK)), workers()
    missing = [i for i in chunks if not (folder / f"{i}.npz").exists()]
    team.wait_for_everyone()  # or a fast one's first chunk would be missing for it alone
    mine = missing[team.process_index :: team.num_processes]
    if mine:
        chain = SplitDiffusion.from_pretrained("embedded", dtype="bf16")
        for i in tqdm(mine, desc="pictures", mininterval=10, disable=not team.is_main_process):
            _draw_chunk(chain, folder / f"{i}.npz", seed, i)
    team.wait_for_everyone()
    saved = [np.load(folder / f"{i}.npz") for i in chunks]
    made = [record for part in saved for record in json.loads(str(part["made"]))]
    asked = [Asked(tuple(m.pop("server")), tuple(m.pop("device")), m.pop("style")) for m in made]
    return np.concatenate([part["images"] for part in saved])[:count], asked[:count], made[:count]


def _draw_chunk(chain: SplitDiffusion, path: Path, seed: int, chunk: int) -> None:
    rng = np.random.default_rng((seed, chunk, 77))
    runs, made = [], []
    for i in range(CHUNK):
        first = (str(rng.choice(scenes.NAMES)), str(rng.choice(scenes.PLACES)))
        kind = rng.choice(["good", "errors", "short", "switched"], p=[0.25, 0.25, 0.16, 0.34])
        device, total = first, int(rng.integers(6, 15))
        if kind == "short":
            total = int(rng.integers(2, 6))
        if kind == "switched":
            device = (str(rng.choice(scenes.NAMES)), first[1] if rng.random() < 0.7 else str(rng.choice(scenes.PLACES)))
        shared = int(rng.integers(1, total))
        spoilt = kind == "errors" or (kind in ("switched", "short") and rng.random() < 0.5)
        bep = float(rng.choice(BEPS)) if spoilt else None
        style = scenes.HOUSE_STYLE if rng.random() < 0.7 else str(rng.choice(list(scenes.STYLES)))
        asked = Asked(first, device, style)
        prompts = [scenes.caption(rng, *pair, style, "alone", None) for pair in (first, device)]
        runs.append(Run(*prompts, shared, total - shared, bep, (seed * 1_000 + chunk) * CHUNK + i))
        made.append(asdict(asked) | {"t0": shared, "t_k": total - shared, "bep": bep})
    result = run_sweep(chain.denoiser, runs, Link(), chain.guidance_scale, "pil", 16, progress=False)
    images = np.stack([np.asarray(record.image) for record in result.records])
    with whole(path) as place, place.open("wb") as file:
        np.savez(file, images=images, made=json.dumps(made))
