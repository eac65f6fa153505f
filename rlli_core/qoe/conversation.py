"""What a persona agent is told, as in Fig. 6: the traits in general, its own, the picture and the question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .persona import Persona

PROMPTS = Path(__file__).parent / "prompts"
LONGEST_PROMPT = 300  # characters of a user's prompt that an agent gets to read
_ROLES = re.compile(r"\b(user|assistant|system|human)\s*:", re.IGNORECASE)


@dataclass(frozen=True)
class Conversation:
    """The templates of one agent.

    Args:
        folder: holds setup.j2, persona.j2, question.j2 and describe.j2; a model's folder may bring its own as `prompts/`.
        reserved: strings with a meaning to the model (its special tokens), taken out of a user's prompt.
    """

    folder: Path = PROMPTS
    reserved: Sequence[str] = ()

    def messages(self, persona: Persona, prompt: str) -> list[dict]:
        """Return the conversation up to the question, in the form of transformers' chat templates; one image."""
        asked = self._render("question.j2", prompt=self.quoted(prompt))
        return [
            _turn("user", _text(self._render("setup.j2"))),
            _turn("assistant", _text("Understood.")),
            _turn("user", _text(self._render("persona.j2", persona=persona))),
            _turn("assistant", _text("Understood. Show me the picture.")),
            _turn("user", {"type": "image"}, _text(asked)),
        ]

    def description(self) -> list[dict]:
        """Return the conversation that asks, out of character, what a picture shows."""
        return [_turn("user", {"type": "image"}, _text(self._render("describe.j2")))]

    def quoted(self, prompt: str) -> str:
        """Return a user's prompt as data: one line, of bounded length, without anything that could pass for markup."""
        for word in sorted(self.reserved, key=len, reverse=True):
            prompt = prompt.replace(word, " ")
        return " ".join(_ROLES.sub(r"\1", prompt).split())[:LONGEST_PROMPT]

    def _render(self, name: str, **values: object) -> str:
        return _templates(self.folder).get_template(name).render(**values).strip()


@cache
def _templates(folder: Path) -> Environment:
    return Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined)


def _turn(role: str, *content: dict) -> dict:
    return {"role": role, "content": list(content)}


def _text(text: str) -> dict:
    return {"type": "text", "text": text}
