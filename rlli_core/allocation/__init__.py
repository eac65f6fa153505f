"""Allotting steps and power: the environment, the true optimum, the learners and what they are measured against.

Loaded on first use, since the learners bring torch and the environment gymnasium with them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
