"""Scores of images: measured ones now; persona agents join here."""

from .fidelity import psnr, ssim
from .measured import score_table

__all__ = ["psnr", "score_table", "ssim"]
