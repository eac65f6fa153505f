"""What is on this machine, and will the book run on it: `rlli doctor` and `rlli models`."""

import os
import platform
import shutil
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated

from typer import Option

from ..errors import ModelNotFound, RlliError, UnusableFile, first_line
from ..files import DATA, check_model_folder, check_writable, of_checkout

# Models that can stand in for the embedded ones: hub id -> size and licence, and their weights among the files there. Many
# repositories hold the same weights in other formats and precisions too, and `hf download` alone takes them all.
EXTERNAL_MODELS = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("4 GB, CreativeML Open RAIL-M", "[utv]*/*model.safetensors"),
    "llava-hf/llava-1.5-7b-hf": ("14 GB, Llama 2 Community License; a persona agent", "*.safetensors"),
}
READ_BESIDE = ("*.json", "*.txt", "*.jinja")


def doctor() -> int:
    """Say what this machine has and what will run on it; where something is amiss, what, and goes on."""
    wrong = 0

    def tell(name: str, find: Callable[[], str]) -> None:
        nonlocal wrong
        try:
            found = find()
        except Exception as error:  # whatever is broken here is what one wants to know
            wrong += 1
            found = (
                f"NOT WELL: {str(error) if isinstance(error, RlliError) else f'{type(error).__name__}: {first_line(error)}'}"
            )
        print(f"{name:<11} {found}")

    tell("python", lambda: f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in ("rlli_core", "torch", "diffusers", "transformers", "numpy"):
        tell(name, partial(metadata.version, name))
    tell("device", lambda: _gpu() or f"CPU, {os.cpu_count()} cores")
    tell("disk", lambda: f"{shutil.disk_usage(DATA.parent).free / 1e9:.0f} GB free")
    tell("results", _place_of_results)
    tell("models", _models_here)
    tell("data", _data_here)
    tell("notebooks", lambda: f"{_sound_notebooks()}: {'not all will run, see above' if wrong else 'all will run'}")
    tell("hub models", lambda: f"will run{'' if _gpu() else ', at minutes an image without a GPU'}; see rlli models")
    of_checkout()
    return 1 if wrong else 0


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _place_of_results() -> str:
    from .runner import runs

    check_writable(runs.RUNS)
    return f"go to {runs.RUNS}"


def _models_here() -> str:
    if not (here := _embedded_models()):
        raise ModelNotFound(f"none in {DATA / 'models'}: get a full checkout")
    for path in here:
        check_model_folder(path)
    return ", ".join(path.name for path in here)


def _data_here() -> str:
    from .runner import checksums

    if changed := checksums.changed():
        raise UnusableFile("not as in data/checksums.txt:" + "".join(f"\n            data/{name}" for name in changed))
    return "as in data/checksums.txt"


def _sound_notebooks() -> int:
    from .runner import notebooks, runs

    for profile in runs.PROFILES:
        runs.load_profile(profile)
    return len([runs.read(notebooks.find(name)) for name in notebooks.names()])


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
