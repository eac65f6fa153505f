"""What the built pages load beside their own text: `python -m rlli_core.book.browser.site FOLDER` makes it alone."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from ...files import write_text
from . import atlas, export


def write(folder: Path) -> None:
    """Write `folder/engine`, the model for the browser, and `folder/atlas`, the precomputed pictures.

    The index of the atlas is a script, because a page that is opened as a file may load scripts but not read data.
    """
    export.export(folder / "engine")
    shutil.copytree(atlas.ATLAS, folder / "atlas", dirs_exist_ok=True)
    index = folder / "atlas" / "atlas.json"
    write_text(index.with_suffix(".js"), f"globalThis.rlliAtlas = {index.read_text(encoding='utf-8').strip()};\n")
    index.unlink()


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(prog="python -m rlli_core.book.browser.site", description=__doc__)
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
