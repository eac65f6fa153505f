"""Split diffusion over a bit-error link: one prompt, one shared start, many devices.

The public names are loaded on first use, so `import rlli_core` itself is instant.
"""

from importlib import import_module

_HOME = {
    "SplitDiffusion": "rlli_core.diffusion.split",
    "SplitPlan": "rlli_core.records",
    "FisherSnedecorF": "rlli_core.channel.fading",
    "Link": "rlli_core.channel.link",
    "Persona": "rlli_core.qoe.persona",
    "PersonaAgent": "rlli_core.qoe.agent",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
