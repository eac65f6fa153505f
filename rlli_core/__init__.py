"""Split diffusion over a bit-error link: one prompt, one shared start, many devices.

The public names are loaded on first use, so `import rlli_core` itself is instant.
"""

from .lazy import lazy

_HOME = {
    "SplitDiffusion": ".diffusion.split",
    "SplitPlan": ".records",
    "FisherSnedecorF": ".channel.fading",
    "Link": ".channel.link",
    "Persona": ".qoe.persona",
    "PersonaAgent": ".qoe.agent",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
