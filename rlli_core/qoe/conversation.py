"""What a persona agent is told, as in Fig. 6: the traits in general, its own, the picture and the question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import InvalidArgument, UnsupportedModel, first_line
from .persona import Persona

PROMPTS = Path(__file__).parent / "prompts"
LONGEST_PROMPT = 300  # characters of a user's prompt that an agent gets to read
_ROLES = re.compile(r"\b(user|assistant|system|human)\s*:", re.IGNORECASE)


@dataclass(frozen=True)
class Conversation:
    """The templates of one agent.

    Args:
        folder: holds setup.j2, persona.j2, question.j2 and describe.j2; a model's folder may bring its own as `prompts/`. A
            question.j2 that passes on only some words of a prompt says so: it sets `known`, those words, and `plain`, those that
            need no passing on ("a", "the", "in"), and reads `words`, the prompt in lower case without anything but letters.
        reserved: strings with a meaning to the model (its special tokens), taken out of a user's prompt.
    """

    folder: Path = PROMPTS
    reserved: Sequence[str] = ()

    def messages(self, persona: Persona, prompt: str) -> list[dict]:
        """Return the conversation up to the question, in the form of transformers' chat templates; one image."""
        asked = self._render("question.j2", **_asked(self.quoted(prompt)))
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

    @property
    def known(self) -> tuple[str, ...] | None:
        """The words that the model gets to read of a prompt; None where it reads a prompt whole."""
        return self._said("known")

    def unknown(self, prompt: str) -> tuple[str, ...]:
        """The words of a prompt that the model never learnt and does not get to read, each once."""
        if self.known is None:
            return ()
        heard = {*self.known, *(self._said("plain") or ())}
        return tuple(dict.fromkeys(word for word in self._words(prompt) if not {word, word.removesuffix("s")} & heard))

    def check(self, prompt: str) -> str:
        """Return a prompt that asks this model for something, or raise `InvalidArgument`."""
        known = self.known
        if known is not None and not any({word, word.removesuffix("s")} & {*known} for word in self._words(prompt)):
            some = ", ".join(known[:: max(1, len(known) // 5)])
            raise InvalidArgument("prompt", prompt, f"one that names a thing or place which this agent knows, such as {some}")
        return prompt

    def _words(self, prompt: str) -> list[str]:
        return _asked(self.quoted(prompt))["words"]

    def _said(self, name: str) -> tuple[str, ...] | None:
        module = _templates(self.folder).get_template("question.j2").make_module(_asked(""))
        return tuple(getattr(module, name)) if hasattr(module, name) else None

    def quoted(self, prompt: str) -> str:
        """Return a user's prompt as data: one line, of bounded length, without anything that could pass for markup."""
        for word in sorted(self.reserved, key=len, reverse=True):
            prompt = prompt.replace(word, " ")
        return " ".join(_ROLES.sub(r"\1", prompt).split())[:LONGEST_PROMPT]

    def _render(self, name: str, **values: object) -> str:
        try:
            return _templates(self.folder).get_template(name).render(**values).strip()
        except TemplateError as error:  # missing, misspelt, or out of its sandbox
            raise UnsupportedModel(f"the template {self.folder / name} cannot be filled in: {first_line(error)}") from error


@cache
def _templates(folder: Path) -> ImmutableSandboxedEnvironment:
    # A model's folder may come from anybody, and a template is code.
    return ImmutableSandboxedEnvironment(loader=FileSystemLoader(folder), undefined=StrictUndefined)


def _asked(quoted: str) -> dict:
    return {"prompt": quoted, "words": re.findall("[a-z]+", quoted.lower())}


def _turn(role: str, *content: dict) -> dict:
    return {"role": role, "content": list(content)}


def _text(text: str) -> dict:
    return {"type": "text", "text": text}
