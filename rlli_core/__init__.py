"""Split diffusion over a bit-error link: one prompt, one shared start, many devices.

The public names, listed in `__init__.pyi`, are loaded on first use, so `import rlli_core` itself is instant.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
