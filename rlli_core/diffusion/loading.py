"""From a name to a diffusers pipeline that can be cut."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline

from ..compute import first_variant, quiet
from ..errors import InvalidArgument, ModelNotFound, UnsupportedPipeline, first_line, shown
from ..files import check_model_folder, folder_of, model_folder

EMBEDDED = "embedded"
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")  # parts of a pipeline that no call here needs


def load_pipeline(name: str) -> DiffusionPipeline:
    """Load the embedded pipeline, one from a folder, or one from the hub (or its local cache); no safety checker.

    Raises:
        ModelNotFound: no such folder, a part of it missing, or a hub id that is neither cached nor reachable.
    """
    if not isinstance(name, (str, Path)) or not str(name).strip():
        raise InvalidArgument("name", name, "'embedded', a folder or a hub id")
    folder = model_folder("embedded-sd") if name == EMBEDDED else folder_of(name)
    local = folder.is_dir()
    if local:
        check_model_folder(folder)
        _check_complete(folder)
    source = folder if local else str(name)
    try:
        with quiet():
            return first_variant(
                partial(DiffusionPipeline.from_pretrained, source, safety_checker=None, requires_safety_checker=False)
            )
    except Exception as error:  # damaged files make the libraries raise whatever comes first
        if local:
            raise ModelNotFound(f"the model folder {folder} does not load, get it again: {first_line(error)}") from error
        raise ModelNotFound(
            f"{shown(str(name))} is no folder here, and as a hub id it is neither in the local cache nor reachable. Check "
            f"the spelling, connect to the network (once, it is then cached), or pass a downloaded folder: {first_line(error)}"
        ) from error


def _check_complete(folder: Path) -> None:
    """Raise `ModelNotFound` unless every part that model_index.json names is there."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise ModelNotFound(f"the folder {folder} is not a diffusers pipeline: it has no model_index.json")
    named = json.loads(index.read_text(encoding="utf-8"))
    if not isinstance(named, dict):
        raise ModelNotFound(f"{index} is damaged, get the model again: it names no parts")
    parts = [k for k, v in named.items() if isinstance(v, list) and v and v[0] is not None]
    missing = [part for part in parts if part not in UNUSED and not any(folder.glob(f"{part}/*"))]
    # transformers makes up an empty vocabulary where the file is missing.
    vocabulary = ("tokenizer/vocab.json", "tokenizer/tokenizer.json")
    if "tokenizer" in parts and not any((folder / file).is_file() for file in vocabulary):
        missing.append(vocabulary[0])
    if missing:
        raise ModelNotFound(f"the model folder {folder} is incomplete, get it again: {', '.join(missing)} missing")


def check_pipeline(pipeline: Any) -> None:
    """Raise `UnsupportedPipeline` unless `pipeline` is of the Stable Diffusion type: one text encoder, one UNet."""
    parts = ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "encode_prompt", "image_processor")
    missing = [part for part in parts if getattr(pipeline, part, None) is None]
    if missing:
        raise UnsupportedPipeline(
            f"{type(pipeline).__name__} has no {', '.join(missing)}: pass a pipeline of the Stable Diffusion type"
        )
    unet, vae = pipeline.unet.config, pipeline.vae.config
    more = [name for name in ("controlnet", "adapter", "motion_adapter") if getattr(pipeline, name, None) is not None]
    if getattr(pipeline.unet, "encoder_hid_proj", None) is not None:
        more.append("IP-Adapter")
    if more:
        raise UnsupportedPipeline(
            f"the pipeline has more networks than can be cut ({', '.join(more)}), and without them it would draw something else: "
            "pass one without"
        )
    extra = [k for k in ("addition_embed_type", "class_embed_type", "time_cond_proj_dim") if unet.get(k) is not None]
    if extra:
        raise UnsupportedPipeline(f"the UNet wants more than latent, timestep and text ({', '.join(extra)})")
    if unet.in_channels != vae.latent_channels:
        raise UnsupportedPipeline(f"the UNet takes {unet.in_channels} channels, the latent has {vae.latent_channels}")
