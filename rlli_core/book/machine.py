"""What is on this machine, and will the book run on it: `rlli doctor` and `rlli models`."""

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Annotated

from typer import Option

from ..files import DATA, of_checkout

# Models that can stand in for the embedded ones: hub id -> size and licence, and their weights among the files there. Many
# repositories hold the same weights in other formats and precisions too, and `hf download` alone takes them all.
EXTERNAL_MODELS = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("4 GB, CreativeML Open RAIL-M", "[utv]*/*model.safetensors"),
    "llava-hf/llava-1.5-7b-hf": ("14 GB, Llama 2 Community License; a persona agent", "*.safetensors"),
}
READ_BESIDE = ("*.json", "*.txt", "*.jinja")


def doctor() -> int:
    """Say what this machine has and what will run on it."""
    import torch

    from .runner import checksums, notebooks

    print(f"python      {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in ("rlli_core", "torch", "diffusers", "transformers", "numpy"):
        print(f"{name:<11} {metadata.version(name)}")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    print(f"device      {gpu or f'CPU, {os.cpu_count()} cores'}")
    print(f"disk        {shutil.disk_usage(DATA.parent).free / 1e9:.0f} GB free")
    changed = checksums.changed()
    here = [path.name for path in _embedded_models()]
    print(f"models      {', '.join(here) or 'none'}")
    for name in changed:
        print(f"            data/{name} is not as in data/checksums.txt")
    known = len(notebooks.names()) if notebooks.NOTEBOOKS.is_dir() else 0
    ready = bool(here and known) and not changed
    print(f"notebooks   {known}: {'all will run' if ready else 'not all will run, see above'}")
    print(f"hub models  {'will run' if gpu else 'will run, at minutes an image without a GPU'}; see rlli models")
    of_checkout(DATA)
    return 0 if ready else 1


def list_models(
    write_checksums: Annotated[
        bool, Option("--write-checksums", help="Record data/ as it is now in data/checksums.txt.")
    ] = False,
) -> int:
    """Which models are here, and how to get the rest; exits with 1 where files of data/ are changed or none are there."""
    from huggingface_hub import try_to_load_from_cache

    from .runner import checksums

    if write_checksums:
        checksums.write()
        print(f"wrote {checksums.CHECKSUMS}")
    changed = checksums.changed()
    for path in _embedded_models():
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        bad = [name for name in changed if name.startswith(f"models/{path.name}/")]
        print(f"{path.name}  embedded, {size / 1e6:.1f} MB, {'CHANGED: ' + ', '.join(bad) if bad else 'checksums agree'}")
    for hub_id, (about, weights) in EXTERNAL_MODELS.items():
        here = any(isinstance(try_to_load_from_cache(hub_id, name), str) for name in ("model_index.json", "config.json"))
        print(f"{hub_id}  external, {about}, {'downloaded' if here else 'not here; get it with:'}")
        if not here:
            print(f"    hf download {hub_id}", *(f"--include '{pattern}'" for pattern in (weights, *READ_BESIDE)))
    print("Any other Stable-Diffusion-type pipeline, and any image-text-to-text model, works by its hub id or folder.")
    of_checkout(DATA / "models")
    return 1 if changed else 0


def _embedded_models() -> list[Path]:
    return sorted(path for path in (DATA / "models").glob("*") if path.is_dir() and any(path.iterdir()))
