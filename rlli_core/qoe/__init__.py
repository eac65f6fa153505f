"""Scores of images: measured ones, and those of persona agents.

The agent is loaded on first use, since it brings transformers with it.
"""

from importlib import import_module

from .fidelity import psnr, ssim
from .measured import agent_table, score_table
from .persona import Persona

__all__ = ["Persona", "PersonaAgent", "agent_table", "psnr", "score_table", "ssim"]


def __getattr__(name: str) -> object:
    if name != "PersonaAgent":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(".agent", __name__).PersonaAgent
