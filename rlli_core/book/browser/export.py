"""Write the embedded models for the browser: `python -m rlli_core.book.browser.export FOLDER`.

The folder then holds the networks of the text-to-image model and of the persona agent as ONNX, `engine.json` with all
else that the scripts need to know (noise schedule, words, shapes), and the scripts themselves from `static/`. They run on
the ONNX runtime in `book/assets/vendor/onnxruntime`, by default beside the folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from ...channel import codec
from ...diffusion.denoiser import Denoiser
from ...diffusion.receiver import RESTART_STREAM
from ...diffusion.split import SplitDiffusion
from ...errors import UnsupportedModel, UnsupportedPipeline, UnusableFile, told
from ...files import DATA, model_folder, read_json, whole, write_text
from ...qoe import agent as qoe_agent
from ...qoe import conversation, persona
from ...qoe.agent import PersonaAgent
from ...records import RECEIVERS
from . import export_agent

STATIC = Path(__file__).with_name("static")
RUNTIME = DATA.parent / "book" / "assets" / "vendor" / "onnxruntime"
OPSET = 20
BITS = 8  # a latent value on the link, the default of `Link`


class TextEncoder(torch.nn.Module):
    """Tokens (1, L), int32, to their embedding (1, L, E)."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.encoder = denoiser.pipeline.text_encoder

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.encoder(tokens.long())[0]


class GuidedUNet(torch.nn.Module):
    """The denoiser's output with classifier-free guidance, as `Denoiser.advance` has it.

    Takes a latent (1, C, h, w), a timestep (1,), the embeddings of "" and of the prompt (2, L, E), and the scale (1,).
    """

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.unet = denoiser.pipeline.unet

    def forward(
        self, latent: torch.Tensor, timestep: torch.Tensor, texts: torch.Tensor, guidance: torch.Tensor
    ) -> torch.Tensor:
        both = torch.cat([latent, latent])
        without, towards = self.unet(both, timestep, encoder_hidden_states=texts, return_dict=False)[0].chunk(2)
        return without + guidance * (towards - without)


class Decoder(torch.nn.Module):
    """A latent (1, C, h, w) to its image (1, 3, H, W) in [0, 1], as `Denoiser.decode` and diffusers' processor do."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.vae = denoiser.pipeline.vae

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        pixels = self.vae.decode(latent / self.vae.config.scaling_factor, return_dict=False)[0]
        return (pixels / 2 + 0.5).clamp(0, 1)


def networks(denoiser: Denoiser) -> dict[str, tuple[torch.nn.Module, dict[str, torch.Tensor]]]:
    """File name -> (network, example of its inputs by name); every network has the one output "output"."""
    length, width = denoiser.pipeline.tokenizer.model_max_length, denoiser.pipeline.unet.config.cross_attention_dim
    latent = torch.zeros(denoiser.latent_shape)
    step = {"timestep": torch.full((1,), 500.0), "texts": torch.zeros(2, length, width), "guidance": torch.ones(1)}
    return {
        "text_encoder.onnx": (TextEncoder(denoiser).eval(), {"tokens": torch.zeros(1, length, dtype=torch.int32)}),
        "unet.onnx": (GuidedUNet(denoiser).eval(), {"latent": latent} | step),
        "decoder.onnx": (Decoder(denoiser).eval(), {"latent": latent}),
    }


def to_onnx(network: torch.nn.Module, inputs: dict[str, torch.Tensor], any_length: str = "") -> bytes:
    """One network as an ONNX file of fixed shapes but for axis 1 of the input `any_length`: the same network, the same bytes.

    Weights that fit 16 bits without loss, as nearly all of the embedded model's do, are stored so and cast back to 32
    bits, in which everything is computed; the runtime does the casts once, when it loads the file.
    """
    said = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = said.level
    said.setLevel(logging.ERROR)  # torchvision, not needed here, is not there
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.filterwarnings("ignore", "`isinstance", FutureWarning)  # torch's exporter on torch's own code
            program = torch.onnx.export(
                network, tuple(inputs.values()), input_names=list(inputs), output_names=["output"], opset_version=OPSET,
                dynamo=True, verbose=False,
                dynamic_shapes={name: {1: torch.export.Dim("length")} if name == any_length else None for name in inputs},
            )  # fmt: skip
    finally:
        said.setLevel(level)
    model = program.model_proto
    graph = model.graph
    for node in graph.node:  # traces with the paths of this machine
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for part in (model, graph, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
    graph.ClearField("value_info")
    casts = []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size == 1:
            continue
        with np.errstate(over="ignore"):  # a mask's -3e38 becomes -inf, which is seen to be a loss
            halves = values.astype(np.float16)
        if (halves == values).all():
            casts.append(onnx.helper.make_node("Cast", [f"{weight.name}.16"], [weight.name], to=onnx.TensorProto.FLOAT))
            weight.CopyFrom(numpy_helper.from_array(halves, f"{weight.name}.16"))
    nodes = [*casts, *graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)
    return model.SerializeToString(deterministic=True)


def words(denoiser: Denoiser) -> dict[str, int]:
    """What the training captions are made of, with its tokens: the words that the vocabulary has whole, "a" and ","."""
    vocabulary = denoiser.pipeline.tokenizer.get_vocab()
    whole = {token[:-4]: number for token, number in vocabulary.items() if token.endswith("</w>")}
    # Every single character is a token; captions have these two.
    return {word: whole[word] for word in sorted(whole) if word in ("a", ",") or len(word) > 1}


def settings(chain: SplitDiffusion) -> dict:
    """What the scripts must know beside the networks.

    Raises:
        UnsupportedPipeline: the schedule is of a kind that `schedule.mjs` does not have.
    """
    scheduler, pipeline = chain.scheduler, chain.pipeline
    found = {name: scheduler.config[name] for name in ("timestep_spacing", "prediction_type", "clip_sample")}
    if found != {"timestep_spacing": "trailing", "prediction_type": "v_prediction", "clip_sample": False}:
        raise UnsupportedPipeline(f"the browser's schedule is trailing, v_prediction, unclipped; this one is {found}")
    shape, scale = chain.denoiser.latent_shape, 2 ** (len(pipeline.vae.config.decoder_block_out_channels) - 1)
    tokenizer = pipeline.tokenizer
    return {
        "latent_shape": shape,
        "image_size": [scale * shape[3], scale * shape[2]],
        "guidance_scale": chain.guidance_scale,
        "schedule": {
            **found,
            "alphas_cumprod": scheduler.alphas_cumprod.tolist(),
            "final_alpha_cumprod": float(scheduler.final_alpha_cumprod),
        },
        "runtime_bytes": sum(path.stat().st_size for path in RUNTIME.glob("*.wasm")),
        "link": {"bits": BITS, "stream": codec.FLIP_STREAM},
        "receivers": RECEIVERS,
        "restart_stream": RESTART_STREAM,
        "tokens": {
            "length": tokenizer.model_max_length,
            "start": tokenizer.bos_token_id,
            "end": tokenizer.eos_token_id,
            "pad": tokenizer.pad_token_id,
            "words": words(chain.denoiser),
        },
    }


def fingerprint(*models: Path) -> str:
    """SHA-256 over the models' files, the people and the code: what the networks and `engine.json` are made from."""
    digest = hashlib.sha256((DATA / "personas.yaml").read_bytes())
    for path in (__file__, *(module.__file__ for module in (export_agent, qoe_agent, conversation, persona))):
        digest.update(Path(path).read_bytes())
    for model in models:
        for path in sorted(path for path in model.rglob("*") if path.is_file()):
            digest.update(path.relative_to(model).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def export(folder: Path, chain: SplitDiffusion | None = None, agent: PersonaAgent | None = None) -> bool:
    """Write the networks, `engine.json` and the scripts to `folder`; False if the networks were up to date already.

    Args:
        chain, agent: the embedded ones on the CPU in fp32, if they are loaded already.

    Raises:
        ModelNotFound: an embedded model is not in this checkout.
        UnsupportedModel: the agent looks at pictures of another size than the chain makes, or is of another kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for script in STATIC.glob("*.mjs"):
        shutil.copyfile(script, folder / script.name)
    record, made_from = folder / "engine.json", fingerprint(model_folder("embedded-sd"), model_folder("persona-agent"))
    if _up_to_date(record, made_from):
        return False
    chain = chain or SplitDiffusion.from_pretrained("embedded", device="cpu", dtype="fp32")
    agent = agent or PersonaAgent.from_pretrained("embedded", device="cpu", dtype="fp32")
    files, about = {}, settings(chain) | {"agent": export_agent.settings(agent)}
    if about["image_size"] != about["agent"]["image_size"]:  # resizing is not the same in a browser
        raise UnsupportedModel(
            f"the agent's pictures are of {about['agent']['image_size']}, the chain's of {about['image_size']}"
        )
    for name, network in (networks(chain.denoiser) | export_agent.networks(agent)).items():
        content = to_onnx(*network)
        with whole(folder / name) as place:
            place.write_bytes(content)
        files[name] = len(content)
    write_text(record, json.dumps({"made_from": made_from, "files": files} | about) + "\n")  # last: all is there
    return True


def _up_to_date(record: Path, made_from: str) -> bool:
    """Whether `record` says that the networks beside it were made from this, and they are there whole."""
    try:
        known = read_json(record, "made_from", "files")
    except UnusableFile:  # missing, or broken off
        return False
    paths = {record.with_name(name): size for name, size in known["files"].items()}
    return known["made_from"] == made_from and all(p.is_file() and p.stat().st_size == s for p, s in paths.items())


def main() -> None:
    """Export to the folder named on the command line and say what is there."""
    parser = argparse.ArgumentParser(prog="python -m rlli_core.book.browser.export", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    made = export(folder)
    total = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"{folder}: {total:.1f} MB, {'written' if made else 'up to date'}")


if __name__ == "__main__":
    sys.exit(told(main))
