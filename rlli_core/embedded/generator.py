"""The embedded text-to-image model: text encoder, denoiser and the folder that diffusers loads, eqs. (3)-(13)."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from tokenizers import pre_tokenizers
from tqdm.auto import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..compute import choose_device
from ..files import WORK, whole, write_json
from . import scenes
from .training import fit, mixed, rendered, share, state, to_tensor, workers

MAX_TOKENS = 24
WIDTH = 192
OBJECT_WEIGHT = 3.0
WORDINGS = 8  # captions of each scene


class TextToLatent(torch.nn.Module):
    """Text encoder and denoiser, trained together."""

    def __init__(self, vocabulary: int, channels: int):
        super().__init__()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=2,
                num_attention_heads=4, max_position_embeddings=MAX_TOKENS, projection_dim=WIDTH,
                bos_token_id=0, eos_token_id=1, pad_token_id=1,
                attn_implementation="eager",
            )
        )  # fmt: skip
        self.unet = UNet2DConditionModel(
            sample_size=scenes.SIZE // 8, in_channels=channels, out_channels=channels, layers_per_block=1,
            block_out_channels=(96, 192), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=WIDTH, attention_head_dim=4,
            norm_num_groups=16,
        ).to(memory_format=torch.channels_last)  # fmt: skip
        self.unet.set_attn_processor(AttnProcessor())  # the fused kernel's backward is three times slower on a CPU

    def forward(self, latent: torch.Tensor, timestep: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """(B, C, 16, 16), (B,), (B, MAX_TOKENS) -> predicted velocity (B, C, 16, 16)."""
        return self.unet(latent, timestep, self.text_encoder(tokens).last_hidden_state).sample


def scheduler() -> DDIMScheduler:
    """Cosine schedule with zero terminal SNR; sampled on trailing timesteps."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", rescale_betas_zero_snr=True,
        timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True, steps_offset=1,
    )  # fmt: skip


def tokenizer() -> CLIPTokenizer:
    """Byte-pair tokenizer that gives each word of the captions one token; other words fall apart into bytes.

    Built by hand: the trainer of `tokenizers` breaks ties in an order that changes from one process to the next.
    """
    words = [*scenes.OBJECTS, *(w for where in scenes.SCENES.values() for w in where), *scenes.STYLES.values()]
    words += "a an and the next to beside under feeding pigeons man sits stands is drawing of style tree umbrella".split()
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *bytes_, *(byte + "</w>" for byte in bytes_)]
    merges: list[tuple[str, str]] = []
    for word in sorted({piece for wording in words for piece in wording.split()}):
        pieces = [*word[:-1], word[-1] + "</w>"]
        for pair in merges:  # as the tokenizer will, in the order of their rank
            pieces = _merge(pieces, pair)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _merge(pieces, merges[-1])
            vocabulary.append(pieces[0])
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(vocabulary))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for piece in pieces:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def encode_all(autoencoder: AutoencoderTiny, images: np.ndarray, name: str, batch: int = 32) -> torch.Tensor:
    """Latents (count, C, 16, 16) of a data set, float16, kept in `WORK` for each state of the encoder."""
    weights = torch.cat([p.detach().flatten() for p in autoencoder.encoder.parameters()])
    path = WORK / f"{name}-{zlib.crc32(weights.numpy().tobytes()):08x}.npy"
    if not path.exists():
        unfinished, team = path.with_suffix(".tmp"), workers()
        if team.is_main_process:
            np.lib.format.open_memmap(
                unfinished, "w+", np.float16, (len(images), autoencoder.config.latent_channels, 16, 16)
            ).flush()
        team.wait_for_everyone()
        out = np.load(unfinished, mmap_mode="r+")
        mine = range(team.process_index * batch, len(images), team.num_processes * batch)
        autoencoder.to(device := choose_device("auto"))
        with torch.no_grad(), mixed():
            for i in tqdm(mine, desc="encoding", mininterval=10, disable=not team.is_main_process):
                some = to_tensor(images[i : i + batch]).to(device)
                out[i : i + batch] = autoencoder.encode(some).latents.float().cpu().numpy()
        autoencoder.cpu()
        out.flush()
        team.wait_for_everyone()
        if team.is_main_process:
            unfinished.replace(path)
        team.wait_for_everyone()
    return torch.from_numpy(np.load(path))


def train(
    autoencoder: AutoencoderTiny,
    steps: int,
    seed: int = 0,
    images: int = 24_000,
    batch: int = 48,
    start: Path | None = None,
    world: str = scenes.WORLD,
    **kwargs,
) -> tuple[TextToLatent, int]:
    """Train on the latents of the rendered scenes: loss (12) on the velocity, a tenth of the captions dropped.

    In the varied world, scenes in the house style are drawn twice as often as those in each other style.

    The error counts `OBJECT_WEIGHT` times where an object is drawn. A weight for each cell leaves the minimiser as it is
    and spends the gradient where the detail is.

    Args:
        start: folder of an exported model whose weights to go on from, where there is no checkpoint.
        world: a key of `scenes.WORLDS`, what the scenes are like.
    """
    torch.manual_seed(seed)
    data, labels = rendered(seed, images, world=world)
    device, words = choose_device("auto"), tokenizer()
    latents = encode_all(autoencoder, data, f"latents-{world}-{seed}-{images}-{state()}").to(device)
    latents *= autoencoder.config.scaling_factor
    weights, tokens = object_weights(labels).to(device), wordings(words, labels, world, seed).to(device)
    none = words("", padding="max_length", return_tensors="pt").input_ids.to(device)
    often = 2.0 if world == "varied" else 1.0
    chances = np.array([often if label["style"] == scenes.HOUSE_STYLE else 1.0 for label in labels])
    chances /= chances.sum()
    model = TextToLatent(len(words), latents.shape[1])
    if start is not None:
        pipeline = StableDiffusionPipeline.from_pretrained(start, torch_dtype=torch.float32)
        model.unet.load_state_dict(pipeline.unet.state_dict())
        model.text_encoder.load_state_dict(pipeline.text_encoder.state_dict())
    model.to(device)
    root = scheduler().alphas_cumprod.sqrt().to(device)
    batch = share(batch)

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((seed, step, workers().process_index))
        chosen = rng.choice(len(latents), batch, p=chances)
        picks, wording = torch.from_numpy(chosen).to(device), torch.from_numpy(rng.integers(WORDINGS, size=batch)).to(device)
        asked = torch.where(torch.rand(batch, 1, device=device) < 0.1, none, tokens[picks, wording].long())
        clean = latents[picks].float()
        noise = torch.randn_like(clean)
        timestep = ((torch.randperm(batch) + torch.rand(batch)) / batch * len(root)).long().to(device)  # stratified
        a = root[timestep].view(-1, 1, 1, 1)
        s = (1 - a * a).sqrt()
        with mixed():
            velocity = model(a * clean + s * noise, timestep, asked)
        return ((velocity.float() - (a * noise - s * clean)).square() * weights[picks]).mean()

    model, done = fit(
        "generator", model, loss, steps=steps, ema=0.998, muon=True, save_every=50 if device.type == "cpu" else 1_000,
        **({"lr": 8e-4} | kwargs),
    )  # fmt: skip
    return model.cpu(), done


_CAPTION_FIELDS = ("object", "place", "style", "relation", "second")


def wordings(words: CLIPTokenizer, labels: list[dict], world: str, seed: int) -> torch.Tensor:
    """Tokens of `WORDINGS` captions of every scene, (count, WORDINGS, MAX_TOKENS) int16."""
    rng = np.random.default_rng((seed, 1))
    asked = [[label[k] for k in _CAPTION_FIELDS] for label in labels for _ in range(WORDINGS)]
    captions = [scenes.caption(rng, *fields, named=scenes.WORLDS[world].named) for fields in asked]
    tokens = words(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return tokens.view(len(labels), WORDINGS, -1).short()


def object_weights(labels: list[dict]) -> torch.Tensor:
    """(count, 1, 16, 16): `OBJECT_WEIGHT` in the latent cells that an object's box touches, 1 elsewhere, then mean 1."""
    side = scenes.SIZE // scenes.CELL
    weights = torch.ones(len(labels), 1, side, side)
    for image, label in zip(weights, labels):
        for left, top, right, bottom in label["boxes"]:
            rows = slice(max(top, 0) // scenes.CELL, -(-bottom // scenes.CELL))
            image[:, rows, max(left, 0) // scenes.CELL : -(-right // scenes.CELL)] = OBJECT_WEIGHT
    return weights / weights.mean((1, 2, 3), keepdim=True)


def export(model: TextToLatent, autoencoder: AutoencoderTiny, folder: Path, training: dict) -> None:
    """Write the folder that `StableDiffusionPipeline.from_pretrained` loads as it stands, in float32 on a CPU.

    Denoiser and autoencoder are stored in float16, which diffusers turns into float32; the text encoder in float32, since
    transformers keeps what it finds. `training` goes beside it as training.json, for the record.
    """
    pipeline = StableDiffusionPipeline(
        vae=autoencoder, text_encoder=model.text_encoder, tokenizer=tokenizer(), unet=model.unet,
        scheduler=scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.unet.half()
    pipeline.vae.half()
    with whole(folder) as place:
        pipeline.save_pretrained(place)
        write_json(place / "training.json", training)
