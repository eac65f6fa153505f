"""Allotting steps and power: the environment, the true optimum, the learners and what they are measured against.

Loaded on first use, since the learners bring torch and the environment gymnasium with them.
"""

from importlib import import_module

_HOME = {
    "Service": "environment",
    "ServiceConfig": "environment",
    "ServiceEnv": "environment",
    "optimum": "oracle",
    "TableQoE": "table",
    "LiveQoE": "live",
    "Policy": "ddpg",
    "Training": "ddpg",
    "train": "ddpg",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
