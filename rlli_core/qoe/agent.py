"""The persona agent: a vision-language model that looks at a picture and rates it as one person would."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..compute import choose_device, choose_dtype, fingerprint, first_variant, keep_memory, quiet
from ..errors import (
    InvalidArgument,
    ModelNotFound,
    UnreadableScore,
    UnsupportedModel,
    check_integer,
    check_list,
    check_seed,
    check_text,
    first_line,
    shown,
)
from ..files import check_model_folder, folder_of, model_folder
from .conversation import PROMPTS, Conversation
from .persona import Persona
from .pictures import as_seen

RATINGS = "0123456789"
OPENING = "Rating: "  # of the agent's answer, put into its mouth
LONGEST_ANSWER = 8  # tokens of a sampled answer within which a rating must come
LONGEST_DESCRIPTION = 40  # tokens
KEPT_PREFIXES = 8  # personas whose part of the conversation stays computed
_NOBODY, _SOMEBODY = Persona(0.5, 0.5, 0.5, 0.5, 0.5), Persona(0.9, 0.1, 0.8, 0.2, 0.7)


@dataclass(frozen=True)
class Score:
    """What an agent thinks of one picture.

    Attributes:
        value: the QoE Q_k in [0, 1]: the expected rating, or the sampled one, over the highest.
        probabilities: of the ratings 0 to 9, summing to 1.
        mass: probability that the model gives a rating at all, in [0, 1].
        answer: the sampled text, None where nothing was sampled.
        unknown: words of the prompt that the model does not know, so that the score is for the others.
    """

    value: float
    probabilities: tuple[float, ...]
    mass: float
    answer: str | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Request:
    image: Image.Image
    persona: Persona
    prompt: str


class PersonaAgent:
    """Rates pictures as a person of given Big Five traits, Sec. IV-A2 and IV-B1 of the paper.

    The score is the expectation over the probabilities that the model's next token is one of the ratings 0 to 9: one
    forward pass, no sampling, the same every time. With a seed, an answer is sampled and read instead.

    Args:
        model: any transformers image-text-to-text model (LLaVA, SmolVLM, Qwen-VL ...).
        processor: that model's, with a chat template.
        device, dtype: as in `SplitDiffusion`; "auto" is fp16 on CUDA, fp32 on the CPU.
        templates: folder of the conversation's templates.
        least_mass: probability of giving a rating below which a score is refused.
        batch_size: pictures that one call of the model takes at most.

    Raises:
        UnsupportedModel: the processor has no chat template, or its tokenizer does not write a digit as one token.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        device: str | torch.device = "auto",
        dtype: str = "auto",
        templates: Path = PROMPTS,
        least_mass: float = 0.5,
        batch_size: int = 16,
    ):
        self.device = choose_device(device)
        if self.device.type == "cpu":
            keep_memory()
        self.model = model.to(self.device, choose_dtype(dtype, self.device)).eval()
        self.processor, self.least_mass = processor, least_mass
        self.batch_size = check_integer("batch_size", batch_size, 1)
        if getattr(processor, "chat_template", None) is None:
            raise UnsupportedModel(f"{type(processor).__name__} has no chat template: pass a model tuned for conversation")
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "right"  # so that the tokens of every row stand where they stand alone
        self._image_token = model.config.image_token_id
        reserved = [*tokenizer.all_special_tokens, tokenizer.decode([self._image_token])]
        self.conversation = Conversation(templates, tuple(dict.fromkeys(reserved)))
        text = self._text(_NOBODY, "")
        # Where the chat template writes the token that begins a text, the tokenizer must not put a second one before it.
        self._adds_special_tokens = not (tokenizer.bos_token and text.startswith(tokenizer.bos_token))
        if text == self._text(_SOMEBODY, ""):
            raise UnsupportedModel(
                f"the chat template of {type(processor).__name__} drops what the model is told about its person: "
                "pass a model whose template keeps all turns of a conversation"
            )
        self._rating_tokens, self._surplus = self._find_ratings()
        # Models that place tokens in more than one dimension (Qwen-VL) want to see a conversation whole.
        self._reuses_prefixes = not hasattr(getattr(model, "model", None), "get_rope_index")
        self._prefixes: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    @classmethod
    def from_pretrained(
        cls, name: str | Path = "embedded", device: str | torch.device = "auto", dtype: str = "auto", **options: Any
    ) -> PersonaAgent:
        """Load a folder, a hub id, or "embedded", the agent in `data/models`; the other arguments are the constructor's.

        Raises:
            ModelNotFound: no such folder, an incomplete one, or a hub id that is neither cached nor reachable.
        """
        if not isinstance(name, (str, Path)) or not str(name):
            raise InvalidArgument("name", name, "'embedded', a folder or a hub id")
        precision = choose_dtype(dtype, choose_device(device))
        folder = model_folder("persona-agent") if name == "embedded" else folder_of(name)
        source = folder if folder.is_dir() else str(name)
        if folder.is_dir():
            check_model_folder(folder)
        try:
            with quiet():
                model = first_variant(partial(AutoModelForImageTextToText.from_pretrained, source, dtype=precision))
                processor = AutoProcessor.from_pretrained(source)
        except Exception as error:  # damaged files make the libraries raise whatever comes first
            raise ModelNotFound(
                f"{shown(str(name))} is neither a folder with a model and its processor nor a hub id that is cached or "
                f"reachable (a download needs the network once): {first_line(error)}"
            ) from error
        if (folder / "prompts").is_dir():
            options.setdefault("templates", folder / "prompts")
        return cls(model, processor, device, dtype, **options)

    def score(self, image: Image.Image, persona: Persona, prompt: str, seed: int | None = None) -> Score:
        """Return what `persona`, who asked for `prompt`, thinks of `image`.

        Args:
            image: of any size; the processor fits it to the model.
            prompt: what the user asked for. It is quoted to the model as data, not followed.
            seed: None for the expectation; else an answer is sampled with this seed.

        Raises:
            InvalidArgument: an argument of a wrong type, or a prompt of which an agent that knows some words only knows none.
            UnreadableScore: the model does not answer with a rating.
        """
        return self.scores([image], [persona], [prompt], None if seed is None else [seed])[0]

    def scores(
        self,
        images: Sequence[Image.Image],
        personas: Sequence[Persona] | Persona,
        prompts: Sequence[str] | str,
        seeds: Sequence[int] | None = None,
    ) -> list[Score]:
        """Return one score an image; a single persona or prompt serves all images. Equal requests are computed once."""
        images = check_list("images", images, 0)
        count = len(images)
        personas = [personas] * count if isinstance(personas, Persona) else check_list("personas", personas, 0)
        prompts = [prompts] * count if isinstance(prompts, str) else check_list("prompts", prompts, 0)
        wanted: list[int | None] = [None] * count
        if seeds is not None:
            wanted = [check_seed("seed", seed) for seed in check_list("seeds", seeds, 0)]
        if {len(personas), len(prompts), len(wanted)} != {count}:
            raise InvalidArgument("images", count, "as many as the personas, prompts and seeds")
        shown = {id(image): as_seen(image) for image in images}  # each once, also where many people rate it
        requests = [_request(shown[id(image)], who, asked) for image, who, asked in zip(images, personas, prompts)]
        for prompt in dict.fromkeys(prompts):
            self.conversation.check(prompt)
        keys = [(id(request.image), request.persona, request.prompt) for request in requests]
        answers = self._answers(dict(zip(keys, requests)))
        return [self._score(answers[key], request, seed) for key, request, seed in zip(keys, requests, wanted)]

    def describe(self, image: Image.Image) -> str:
        """Return in words what the model sees on `image`, as itself and without a persona."""
        return self.descriptions([image])[0]

    @torch.no_grad()
    def descriptions(self, images: Sequence[Image.Image]) -> list[str]:
        """Return one description an image: the likeliest word after word, the same every time."""
        text = self.processor.apply_chat_template(self.conversation.description(), add_generation_prompt=True, tokenize=False)
        told = []
        for some in _batches([as_seen(image) for image in check_list("images", images, 0)], self.batch_size):
            inputs = self.processor(
                images=[[image] for image in some], text=[text] * len(some), padding=True, padding_side="left",
                return_tensors="pt", add_special_tokens=self._adds_special_tokens,
            ).to(self.device)  # fmt: skip
            inputs = {k: v.to(self.model.dtype) if v.is_floating_point() else v for k, v in inputs.items()}
            out = self.model.generate(**inputs, max_new_tokens=LONGEST_DESCRIPTION, do_sample=False)
            told += self.processor.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in told]

    def _score(self, logits: torch.Tensor, request: _Request, seed: int | None) -> Score:
        chances = logits.softmax(-1)[self._rating_tokens]
        mass = float(chances.sum())
        if not mass > 0 or (seed is None and mass < self.least_mass):
            raise UnreadableScore(
                f"the model gives a rating with a probability of {mass:.2g} only (at least {self.least_mass:g} is needed), "
                "so there is no score: use a model tuned to follow instructions"
            )
        chances = (chances / chances.sum()).double()
        if seed is None:
            value, answer = float(chances @ torch.arange(10.0, dtype=torch.float64)) / 9, None
        else:
            answer = self._sample(logits, request, seed)
            value = int(answer[-1]) / 9
        return Score(value, tuple(chances.tolist()), mass, answer, self.conversation.unknown(request.prompt))

    def _sample(self, logits: torch.Tensor, request: _Request, seed: int) -> str:
        """Sample an answer token by token until it holds a digit, and return it up to there."""
        source = torch.Generator().manual_seed(seed)
        tokens: list[int] = []
        inputs: dict[str, Any] = {}
        while len(tokens) < LONGEST_ANSWER:
            tokens.append(int(torch.multinomial(logits.softmax(-1), 1, generator=source)))
            text = self.processor.tokenizer.decode(tokens)
            digit = next((i for i, letter in enumerate(text) if letter in RATINGS), None)
            if digit is not None:
                return text[: digit + 1]
            inputs = inputs or self._inputs([request])
            inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([tokens[-1:]], device=self.device)], 1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            logits = self._logits(inputs)[0]
        raise UnreadableScore(f"the sampled answer {text!r} has no rating from 0 to 9")

    def _answers(self, requests: dict[tuple, _Request]) -> dict[tuple, torch.Tensor]:
        """Logits (V,) of the first token of each answer, float32 on the CPU."""
        found: dict[tuple, torch.Tensor] = {}
        seen = self._look(list(requests.values()))
        for persona in dict.fromkeys(request.persona for request in requests.values()):
            keys = [key for key, request in requests.items() if request.persona == persona]
            for some in _batches(keys, self.batch_size):
                if seen:  # what else a picture of that size says is the same for all of them
                    asked = [(requests[key].prompt, requests[key].image.size) for key in some]
                    first = {one: requests[key] for one, key in zip(asked, some)}
                    rows, read = [list(first).index(one) for one in asked], self._inputs(list(first.values()))
                    inputs = {name: read[name][rows] for name in ("input_ids", "attention_mask")}
                    looked_at = BaseModelOutputWithPooling(pooler_output=[seen[id(requests[key].image)] for key in some])
                    inputs["mm_encoder_outputs"] = {"image": looked_at}
                else:
                    inputs = self._inputs([requests[key] for key in some])
                found |= zip(some, self._logits(inputs))
        return found

    @torch.no_grad()
    def _look(self, requests: Sequence[_Request]) -> dict[int, torch.Tensor]:
        """Image tokens by the picture's id, where several rate the same picture and its pixels are all that a model takes."""
        images = list({id(request.image): request.image for request in requests}.values())
        if len(images) == len(requests):
            return {}
        seen: dict[int, torch.Tensor] = {}
        for some in _batches(images, self.batch_size):
            inputs = self._inputs([_Request(image, _NOBODY, "") for image in some])
            if set(inputs) != {"input_ids", "attention_mask", "pixel_values"}:
                return {}
            seen |= zip(map(id, some), self.model.get_image_features(inputs["pixel_values"]).pooler_output)
        return seen

    def _inputs(self, requests: Sequence[_Request]) -> dict[str, Any]:
        """The model's inputs, ending where the next token is the rating; padded on the right."""
        texts = [self._text(request.persona, request.prompt) for request in requests]
        images = [[request.image] for request in requests]
        inputs = self.processor(
            images=images, text=texts, padding=True, return_tensors="pt", add_special_tokens=self._adds_special_tokens
        ).to(self.device)
        if self._surplus:
            ends = inputs["attention_mask"].sum(1)
            for row, end in zip(inputs["attention_mask"], ends):
                row[end - self._surplus :] = 0
            width = int(ends.max()) - self._surplus
            inputs |= {key: inputs[key][:, :width] for key in ("input_ids", "attention_mask")}
        return {k: v.to(self.model.dtype) if v.is_floating_point() else v for k, v in inputs.items()}

    @torch.no_grad()
    def _logits(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Logits (B, V) of the token after each row, float32 on the CPU. All rows are of one persona."""
        tokens, mask = inputs["input_ids"], inputs["attention_mask"]
        last = mask.sum(1) - 1
        start = int((tokens[0] == self._image_token).nonzero()[0]) if self._reuses_prefixes else 0
        if start:
            whole = tokens.shape
            cache = copy.deepcopy(self._prefix(tokens[0, :start]))
            cache.batch_repeat_interleave(len(tokens))
            row = {k for k, v in inputs.items() if getattr(v, "shape", None) == whole and k != "attention_mask"}
            inputs = {k: v[:, start:] if k in row else v for k, v in inputs.items()}
            positions = torch.arange(start, whole[1], device=self.device)[None].expand(len(tokens), -1)
            inputs |= {"past_key_values": cache, "position_ids": positions}
        logits = self.model(**inputs).logits
        return logits[torch.arange(len(tokens)), last - start].float().cpu()

    def _prefix(self, tokens: torch.Tensor) -> Any:
        """Keys and values of the part of a conversation before the picture; the latest few are kept."""
        key = (fingerprint(self.model), *tokens.tolist())
        if key not in self._prefixes:
            self._prefixes[key] = self.model(input_ids=tokens[None], use_cache=True).past_key_values
            if len(self._prefixes) > KEPT_PREFIXES:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(key)
        return self._prefixes[key]

    def _text(self, persona: Persona, prompt: str) -> str:
        messages = self.conversation.messages(persona, prompt)
        return self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + OPENING

    def _find_ratings(self) -> tuple[torch.Tensor, int]:
        """Tokens that write the ratings after `OPENING`, and how many tokens of `OPENING` itself they replace."""
        text, tokenizer = self._text(_NOBODY, ""), self.processor.tokenizer
        added = self._adds_special_tokens
        without = tokenizer(text, add_special_tokens=added).input_ids
        written = [tokenizer(text + digit, add_special_tokens=added).input_ids for digit in RATINGS]
        shared = next((i for i, column in enumerate(zip(without, *written)) if len(set(column)) > 1), len(without))
        tokens = [ids[shared] if len(ids) == shared + 1 else None for ids in written]
        if None in tokens or len(set(tokens)) != len(RATINGS):
            raise UnsupportedModel(f"{type(tokenizer).__name__} does not write each of the ratings 0 to 9 as one token")
        return torch.tensor(tokens), len(without) - shared


def _request(image: Image.Image, persona: Persona, prompt: str) -> _Request:
    if not isinstance(persona, Persona):
        raise InvalidArgument("persona", persona, "a Persona")
    return _Request(image, persona, check_text("prompt", prompt))


def _batches(items: Sequence, size: int) -> Iterator[Sequence]:
    return (items[start : start + size] for start in range(0, len(items), size))
