"""Live sliders: one generic panel, the explorer over the whole service, and the panels of single pages."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
