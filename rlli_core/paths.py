"""Where the data folder of this checkout is, and the embedded models in it."""

from pathlib import Path

from .errors import ModelNotFound

DATA = Path(__file__).resolve().parent.parent / "data"


def model_folder(name: str) -> Path:
    """Return the folder of the embedded model `name`, such as "embedded-sd" or "judge".

    Raises:
        ModelNotFound: the package does not run from a checkout, or that model is not in it.
    """
    folder = DATA / "models" / name
    if not folder.is_dir():
        raise ModelNotFound(
            f"the embedded model {name!r} is not at {folder}: it comes with the repository, so install the package "
            "from a full checkout with `pip install -e .`, or pass the folder of a model instead of its name"
        )
    return folder
