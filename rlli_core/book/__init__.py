"""What runs, checks and shows the book; nothing else imports it. This is the door for notebooks.

A notebook checks its parameters with `NotebookConfig` and the rules beside it, tells what it
found with `say`, and ends with `record`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
