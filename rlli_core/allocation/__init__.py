"""Allotting steps and power: the environment, the true optimum, the learners and what they are measured against.

Loaded on first use, since the learners bring torch and the environment gymnasium with them.
"""

from ..lazy import lazy

_HOME = {
    "Service": ".environment",
    "ServiceConfig": ".environment",
    "ServiceEnv": ".environment",
    "optimum": ".oracle",
    "compare": ".comparison",
    "TableQoE": ".table",
    "LiveQoE": ".live",
    "Policy": ".ddpg",
    "Training": ".ddpg",
    "train": ".ddpg",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
