"""The embedded persona agent: a small LLaVA, taught in two stages to describe pictures and to rate them as a person.

Stage 1 teaches it to say what pictures show, and in digits how bright, detailed, clean ... they are. Stage 2 goes on with
that and adds the ratings of the trait model (`tastes`), on drawn scenes and on pictures of the split chain, good ones and
spoilt ones. The conversation is that of `PersonaAgent`, in words of the model's own small vocabulary (`TEMPLATES`, saved
beside the weights).

A rating is a product, quality times preference. On the way to it the question names both, and the model is taught to have
them ready there: preference after "taste:", quality after "quality:", the rating at the end. Without that it had learnt next
to nothing of the ratings after 48,000 of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SwinConfig,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..files import WORK, whole, write_json, write_text
from ..qoe.agent import OPENING, RATINGS
from ..qoe.conversation import Conversation
from ..qoe.persona import TRAITS, Persona
from . import scenes, tastes
from .examples import Examples, description_of, draw_prompt, measurements_of, rendered_examples, soft_target, split_examples
from .training import fit, share, to_tensor, workers

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
CHAT = (
    "<s> {% for message in messages if message['role'] == 'user' %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
)
# Words of captions that name no thing and no place.
PLAIN = (
    "a an and at before beside brick by drawing feeding flat front glossy in is next of on sits stands style the to under with"
)
TEMPLATES = {
    "setup.j2": "",
    "persona.j2": "{% for name in persona.levels %}{{ name }} {{ '%02d' | format(persona[name] * 99 + 0.5) }} {% endfor %}",
    "question.j2": f"""{{% set known = "{" ".join(sorted(scenes.KNOWN))}".split() -%}}
{{% set plain = "{PLAIN}".split() -%}}
taste: asked for "{{% for word in words %}}{{% set word = word if word in known else word.removesuffix("s") %}}
{{%- if word in known %}}{{{{ word }}}} {{% endif %}}{{% endfor %}}" . quality:""",  # things and places, nothing else
    "describe.j2": "describe .",
}
MEASURE = "measure ."  # asked in place of describe.j2, in training only


@dataclass(frozen=True)
class Candidate:
    """A vision tower ("clip" or "swin", width and depth of its stages) before a decoder; `patch` pixels square a token."""

    vision: str
    width: int
    depths: tuple[int, ...]
    patch: int
    text_width: int
    text_depth: int

    @property
    def image_tokens(self) -> int:
        """How many tokens the decoder gets of a picture."""
        return (scenes.SIZE // self.patch) ** 2


CANDIDATES = {
    "ViT, 64 tokens": Candidate("clip", 192, (6,), 16, 192, 4),
    "Swin, 16 tokens": Candidate("swin", 48, (2, 2, 2, 2), 32, 192, 4),
}
CHOSEN = "Swin, 16 tokens"
PERSONAS = 6  # that rate each picture of a batch, at first


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word of the captions and of `TEMPLATES`, one a digit; other words are <unk>."""
    spoken = [*scenes.NAMES, *scenes.STYLES.values(), *TRAITS, *(w for where in scenes.SCENES.values() for w in where)]
    spoken += ["a an and next to beside under feeding pigeons man sits stands is drawing of style", OPENING]
    spoken += [*TEMPLATES.values(), MEASURE, *tastes.FEATURES, "clean"]
    words = sorted({word for text in spoken for word in re.findall("[a-z]+", re.sub("{.*?}+", " ", text.lower()))})
    vocabulary = [*SPECIAL, *RATINGS, *'.,:"', *words]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r'[\d.,:"]'), "isolated")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=["<image>"], clean_up_tokenization_spaces=True,
    )  # fmt: skip


def processor(candidate: str = CHOSEN) -> LlavaProcessor:
    """Pictures of 128x128 in patches, and the conversation."""
    chosen, size = CANDIDATES[candidate], {"height": scenes.SIZE, "width": scenes.SIZE}
    pictures = CLIPImageProcessorPil(size=size, do_center_crop=False, crop_size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return LlavaProcessor(
        pictures, tokenizer(), patch_size=chosen.patch, chat_template=CHAT,
        vision_feature_select_strategy="default" if chosen.vision == "clip" else "full",
        num_additional_image_tokens=int(chosen.vision == "clip"),
    )  # fmt: skip


def build(candidate: str = CHOSEN) -> LlavaForConditionalGeneration:
    """An untrained agent, one of `CANDIDATES`."""
    chosen = CANDIDATES[candidate]
    if chosen.vision == "clip":
        vision = CLIPVisionConfig(
            hidden_size=chosen.width, intermediate_size=4 * chosen.width, num_hidden_layers=chosen.depths[0],
            num_attention_heads=chosen.width // 32, image_size=scenes.SIZE, patch_size=chosen.patch,
            projection_dim=chosen.width,
        )  # fmt: skip
    else:
        vision = SwinConfig(
            image_size=scenes.SIZE, patch_size=4, embed_dim=chosen.width, depths=list(chosen.depths), window_size=4,
            drop_path_rate=0.0, num_heads=[chosen.width * 2**i // 24 for i in range(len(chosen.depths))],
        )  # fmt: skip
    heads = chosen.text_width // 32
    text = LlamaConfig(
        vocab_size=len(tokenizer()), hidden_size=chosen.text_width, intermediate_size=3 * chosen.text_width,
        num_hidden_layers=chosen.text_depth, num_attention_heads=heads, num_key_value_heads=heads,
        max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=SPECIAL.index("<image>"), vision_feature_layer=-1,
        vision_feature_select_strategy="default" if chosen.vision == "clip" else "full", image_seq_length=chosen.image_tokens,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.set_attn_implementation("eager")  # faster than the fused kernel at these lengths in bf16 on a CPU
    return model


def save(model: LlavaForConditionalGeneration, candidate: str, folder: Path, training: dict) -> None:
    """Write weights (float16), processor, templates and the record of the training."""
    with whole(folder) as place:
        model.half().save_pretrained(place)
        model.float()
        processor(candidate).save_pretrained(place)
        write_templates(place / "prompts")
        write_json(place / "training.json", training)


def write_templates(folder: Path) -> Path:
    """Write `TEMPLATES` as files."""
    for name, text in TEMPLATES.items():
        write_text(folder / name, text + "\n")
    return folder


class BatchSampler:
    """Turns examples into batches of tokens and targets.

    Args:
        candidate: one of `CANDIDATES`.
        sets: to choose from.
        chances: of each set.
        personas: people who rate each picture of a batch.
    """

    def __init__(self, candidate: str, sets: list[Examples], chances: list[float], personas: int = PERSONAS):
        self.sets, self.chances, self.personas = sets, chances, personas
        self.processor, self.image = processor(candidate), "<image>" * CANDIDATES[candidate].image_tokens
        self.words = self.processor.tokenizer
        self.conversation = Conversation(write_templates(WORK / "prompts"), SPECIAL)
        self.ratings = torch.tensor(self.words.convert_tokens_to_ids(list(RATINGS)))

    def tokens(self, messages: list[dict], answer: str) -> list[int]:
        """The tokens that `PersonaAgent` would feed, with an answer."""
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + answer
        return self.words(text.replace("<image>", self.image)).input_ids

    def draw(self, rng: np.random.Generator, count: int) -> list[tuple[Examples, int]]:
        """Choose pictures."""
        sets = rng.choice(len(self.sets), count, p=self.chances)
        return [(self.sets[s], int(rng.integers(len(self.sets[s].images)))) for s in sets]

    def pixels(self, picks: list[tuple[Examples, int]], rng: np.random.Generator) -> torch.Tensor:
        """Each picture moved by a few pixels, as float (B, 3, 128, 128)."""
        moved = [np.roll(examples.images[i], tuple(rng.integers(-4, 5, 2)), (0, 1)) for examples, i in picks]
        return to_tensor(np.stack(moved)).contiguous()

    def rating_batch(self, picks: list, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`personas` rows a picture: tokens (R, L); places (R, 3) of "taste:", "quality:" and the end; targets (R, 3, 10)."""
        rows, places, goals = [], [], []
        taste, quality = self.words.convert_tokens_to_ids(["taste", "quality"])
        for examples, index in picks:
            for persona in rng.integers(0, 100, (self.personas, 5)) / 99:
                prompt = draw_prompt(rng, examples.pairs[index], examples.others[index])
                row = self.tokens(self.conversation.messages(Persona.of(persona), prompt), OPENING)
                rows.append(row)
                places.append([row.index(taste) + 1, len(row) - row[::-1].index(quality), len(row) - 1])  # of each colon
                liking, made, rating = examples.ratings(index, prompt, persona)
                goals.append([(liking - 0.3) / 0.7, made, rating])
        tokens = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        return tokens, torch.tensor(places), soft_target(torch.tensor(np.array(goals), dtype=torch.float32))

    def description_batch(self, picks: list) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (2B, L) and the labels (2B, L), -100 where nothing is to be said: descriptions, then measurements."""
        rows, starts = [], []
        measuring = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": MEASURE}]}]
        for question, answer in ((self.conversation.description(), description_of), (measuring, measurements_of)):
            for examples, index in picks:
                starts.append(len(self.tokens(question, "")))
                rows.append([*self.tokens(question, answer(examples, index)), SPECIAL.index("</s>")])
        tokens = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        labels = torch.where(tokens == 0, -100, tokens)
        for row, start in zip(labels, starts):
            row[:start] = -100
        return tokens, labels


def train(
    candidate: str = CHOSEN,
    steps: int = 1_500,
    seed: int = 0,
    describe_steps: int = 550,
    batch: int = 32,
    start: Path | None = None,
    **kwargs,
) -> tuple[LlavaForConditionalGeneration, int]:
    """Both stages; `steps` is the length of the second, of `batch` pictures with `PERSONAS` ratings and a description each.

    Args:
        describe_steps: length of the first stage, of twice as many pictures a step.
        start: folder of a model to go on from instead of the first stage; then each step takes twice the pictures and a
            third of the people, since what is then left to learn is to see.
    """
    torch.manual_seed(seed)
    *before, name = checkpoints(candidate, start is not None)
    sets, batch = [rendered_examples(0), split_examples(0)], share(batch)  # seed 1 is held out
    kwargs = {"lr": 1.5e-3, "muon": True, "ema": 0.998, "save_every": 200} | kwargs
    first, second = BatchSampler(candidate, sets, [0.75, 0.25]), BatchSampler(candidate, sets, [0.4, 0.6])
    if start is not None:
        model = LlavaForConditionalGeneration.from_pretrained(start, dtype=torch.float32, attn_implementation="eager")
        second = BatchSampler(candidate, sets, [0.6, 0.4], PERSONAS // 3)
        rate = partial(rating_loss, model, second, 2 * batch, (seed, 3), 0.5)
        return fit(name, model, rate, steps=steps, **kwargs | {"lr": 8e-4, "warmup": 30, "ema": 0.99})
    model = build(candidate)
    describe = partial(description_loss, model, first, 2 * batch, (seed, 1))
    model, done = fit(before[0], model, describe, steps=describe_steps, **kwargs)
    if done < describe_steps:
        return model, 0
    return fit(name, model, partial(rating_loss, model, second, batch, (seed, 2), 0.2), steps=steps, **kwargs)


def checkpoints(candidate: str, continued: bool) -> tuple[str, ...]:
    """Names of the checkpoints of a training: of both stages, or of the one that goes on from a model."""
    slug = candidate.lower().replace(", ", "-").replace(" ", "-")
    return (f"agent-go-on-{slug}",) if continued else (f"agent-describe-{slug}", f"agent-rate-{slug}")


def ratings_a_step(continued: bool, batch: int = 32) -> int:
    """Ratings that one step of `train` learns from."""
    return 2 * batch * (PERSONAS // 3) if continued else batch * PERSONAS


def description_loss(
    model: LlavaForConditionalGeneration, sampler: BatchSampler, batch: int, seed: tuple[int, int], step: int
) -> torch.Tensor:
    """Cross-entropy of descriptions and measurements of a batch of pictures."""
    rng = np.random.default_rng((*seed, step, workers().process_index))
    picks = sampler.draw(rng, batch)
    with torch.autocast("cpu", torch.bfloat16):
        return text_loss(model, encode_images(model, sampler.pixels(picks, rng)), *sampler.description_batch(picks))


def rating_loss(
    model: LlavaForConditionalGeneration,
    sampler: BatchSampler,
    batch: int,
    seed: tuple[int, int],
    text_weight: float,
    step: int,
) -> torch.Tensor:
    """Cross-entropy of taste, quality and rating, and `text_weight` times that of descriptions and measurements."""
    rng = np.random.default_rng((*seed, step, workers().process_index))
    picks = sampler.draw(rng, batch)
    tokens, places, goal = sampler.rating_batch(picks, rng)
    with torch.autocast("cpu", torch.bfloat16):
        seen = encode_images(model, sampler.pixels(picks, rng))
        every = seen[:, None].expand(-1, sampler.personas, -1, -1).flatten(0, 1)
        hidden = model.model(input_ids=tokens, mm_encoder_outputs=features(every), use_cache=False).last_hidden_state
        logits = model.lm_head(hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))).float()
        words = text_loss(model, seen, *sampler.description_batch(picks))
    return -(goal * logits.log_softmax(-1)[..., sampler.ratings]).sum(-1).mean() + text_weight * words


def encode_images(model: LlavaForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """The image tokens (B, T, width) that the decoder gets."""
    return torch.stack(model.get_image_features(pixels).pooler_output)


def features(seen: torch.Tensor) -> dict[str, BaseModelOutputWithPooling]:
    """Image tokens in the form in which the model takes what it has looked at before."""
    return {"image": BaseModelOutputWithPooling(pooler_output=list(seen))}


def text_loss(
    model: LlavaForConditionalGeneration, seen: torch.Tensor, tokens: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of what is to be said of pictures that were looked at (B), in rows (2B) of descriptions and measurements."""
    seen = seen.repeat(2, 1, 1)
    hidden = model.model(input_ids=tokens, mm_encoder_outputs=features(seen), use_cache=False).last_hidden_state
    spoken = labels[:, 1:] >= 0
    logits = model.lm_head(hidden[:, :-1][spoken]).float()
    return torch.nn.functional.cross_entropy(logits, labels[:, 1:][spoken])
