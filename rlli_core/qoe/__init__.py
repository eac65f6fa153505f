"""Scores of images: measured ones, what the judge sees, and those of persona agents.

Loaded on first use, since agent and judge bring transformers with them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
