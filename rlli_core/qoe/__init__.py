"""Scores of images: measured ones, and those of persona agents.

The agent is loaded on first use, since it brings transformers with it.
"""

from ..lazy import lazy
from .fidelity import psnr, ssim
from .measured import agent_table, score_table
from .persona import Persona

__all__ = ["Persona", "PersonaAgent", "agent_table", "psnr", "score_table", "ssim"]
__getattr__, __dir__ = lazy(__name__, {"PersonaAgent": ".agent"})
