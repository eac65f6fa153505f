"""The embedded persona agent for the browser: what `export` writes of it beside the text-to-image model."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ...errors import UnsupportedModel
from ...qoe.agent import PersonaAgent, _request
from ...qoe.conversation import LONGEST_PROMPT
from ...qoe.persona import TRAITS, Persona, people


class Eye(torch.nn.Module):
    """A picture (1, H, W, 4), uint8 as a canvas has it, to its image tokens (1, N, E); normalises as the processor does."""

    def __init__(self, agent: PersonaAgent):
        super().__init__()
        self.model, self.processor = agent.model, agent.processor.image_processor

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        colours = picture[..., :3].permute(0, 3, 1, 2).float() * self.processor.rescale_factor
        mean, std = (torch.tensor(v)[:, None, None] for v in (self.processor.image_mean, self.processor.image_std))
        return self.model.get_image_features((colours - mean) / std).pooler_output[0][None]


class Mind(torch.nn.Module):
    """A conversation (1, L), int32, about a picture's image tokens (1, N, E) to the probabilities (10,) of the ratings.

    They do not sum to 1: what is missing is the probability that the model says something else.
    """

    def __init__(self, agent: PersonaAgent, start: int):
        super().__init__()
        self.model, self.ratings, self.start = agent.model, agent._rating_tokens, start

    def forward(self, tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        words = self.model.get_input_embeddings()(tokens.long())
        parts = [words[:, : self.start], seen, words[:, self.start + seen.shape[1] :]]
        hidden = self.model.model.language_model(inputs_embeds=torch.cat(parts, 1), use_cache=False).last_hidden_state
        return self.model.lm_head(hidden[0, -1]).softmax(-1)[self.ratings]


def networks(agent: PersonaAgent) -> dict[str, tuple]:
    """File name -> what `export.to_onnx` takes: network, example of its inputs by name, and which of them may be of any length.

    Raises:
        UnsupportedModel: the image tokens do not stand beside each other.
    """
    tokens = torch.tensor([_tokens(agent, Persona.of([0.5] * 5), "")], dtype=torch.int32)
    places = (tokens[0] == agent._image_token).nonzero().flatten()
    if len(places) != places[-1] - places[0] + 1:
        raise UnsupportedModel("in the browser all image tokens of an agent stand beside each other")
    eye, blank = Eye(agent).eval(), torch.zeros(1, *_size(agent), 4, dtype=torch.uint8)
    with torch.no_grad():
        seen = eye(blank)
    return {
        "agent_eye.onnx": (eye, {"picture": blank}),
        "agent_mind.onnx": (Mind(agent, int(places[0])).eval(), {"tokens": tokens, "seen": seen}, "tokens"),
    }


def settings(agent: PersonaAgent) -> dict:
    """What `agent.mjs` must know: how a conversation is filled in, found by asking the agent's own templates.

    Returns:
        tokens: the conversation without a prompt, -1 for each digit of the traits, two a trait.
        prompt_at: where in it the tokens of a prompt go.
        words: those of a prompt that the templates pass on, with the token that each becomes.
        digits: tokens of 0 to 9. And reserved, longest_prompt, people, least_mass and image_size (width, height).

    Raises:
        UnsupportedModel: templates of another kind.
    """
    nobody, zeros, nines = (Persona.of([v] * len(TRAITS)) for v in (0.5, 0.0, 1.0))
    low, high = (_tokens(agent, persona, "") for persona in (zeros, nines))
    slots = [i for i, (a, b) in enumerate(zip(low, high)) if a != b]
    digits = agent.processor.tokenizer.convert_tokens_to_ids(list("0123456789"))
    if len(low) != len(high) or len(slots) != 2 * len(TRAITS) or {low[i] for i in slots} != {digits[0]}:
        raise UnsupportedModel("in the browser an agent is told two digits for each trait")
    without, passed, places = _tokens(agent, nobody, ""), {}, set()
    for word in agent.processor.tokenizer.get_vocab():
        for form in (word, word + "s"):
            ids = _tokens(agent, nobody, form) if word.isalpha() else without
            if ids == without:
                continue
            place = next(i for i, (a, b) in enumerate(zip(ids, without)) if a != b)
            if ids[:place] + ids[place + 1 :] != without:
                raise UnsupportedModel("in the browser an agent reads every word of a prompt as one token")
            passed[form] = ids[place]
            places.add(place)
    (place,) = places
    return {
        "tokens": [-1 if i in slots else token for i, token in enumerate(low)],
        "prompt_at": place,
        "words": dict(sorted(passed.items())),
        "digits": digits,
        "reserved": sorted(agent.conversation.reserved, key=len, reverse=True),
        "longest_prompt": LONGEST_PROMPT,
        "people": {name: person["traits"] for name, person in people().items()},
        "least_mass": agent.least_mass,
        "image_size": list(reversed(_size(agent))),
    }


def _tokens(agent: PersonaAgent, persona: Persona, prompt: str) -> list[int]:
    """All that the agent is told, up to where the next token is the rating."""
    blank = Image.fromarray(np.zeros((*_size(agent), 3), np.uint8))
    return agent._inputs([_request(blank, persona, prompt)])["input_ids"][0].tolist()


def _size(agent: PersonaAgent) -> tuple[int, int]:
    """Height and width of a picture that the processor takes as it is."""
    size = agent.processor.image_processor.size
    return size["height"], size["width"]
