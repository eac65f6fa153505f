"""A Sphinx extension for reading in peace: code folded behind one switch, a notice told once, a way past the contents to the sliders.

The directive `panel` shows the sliders of a notebook on another page too.
"""

import json
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from rlli_core.book.panels.widget import STYLE, module

PANEL = '<script type="application/vnd.jupyter.widget-view+json">'
NOTICE, TOLD_ON = "What the scores are", "notebooks/00_follow_one_prompt"
SWITCH = '<button type="button" class="code-switch" aria-pressed="false" hidden>Show the code of all pages</button>'
WITHOUT = "<noscript><p>The sliders of this page need JavaScript; all else on it is here without.</p></noscript>"


def setup(app: object) -> dict:
    """Add them to the build."""
    app.add_directive("panel", PanelOf)
    app.add_post_transform(FoldCode)
    app.add_post_transform(TellOnce)
    app.connect("html-page-context", equip, priority=400)  # before what goes right under the title
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class FoldCode(SphinxPostTransform):
    """Fold every code cell but the one with the parameters; MyST-NB then makes a box of it that opens without JavaScript too."""

    default_priority = 198  # MyST-NB folds at 199
    formats = ("html",)

    def run(self, **_given: object) -> None:
        """Mark the cells."""
        for cell in self.document.findall(nodes.container):
            if cell.get("nb_element") == "cell_code" and not cell.get("hide_mode") and "tag_parameters" not in cell["classes"]:
                cell["hide_mode"] = "input"
                cell.setdefault("prompt_show", "Show code cell {type}")
                cell.setdefault("prompt_hide", "Hide code cell {type}")


class TellOnce(SphinxPostTransform):
    """The notice that many pages have stands open on one of them; on the others its title is a line that opens."""

    default_priority = 198
    formats = ("html",)

    def run(self, **_given: object) -> None:
        """Fold it."""
        if self.env.docname == TOLD_ON:
            return
        for box in list(self.document.findall(nodes.admonition)):
            if box.children and box.children[0].astext() == NOTICE:
                opening = nodes.raw("", f'<details class="told"><summary>{NOTICE}</summary>', format="html")
                box.parent.replace(box, [opening, *box.children[1:], nodes.raw("", "</details>", format="html")])


class PanelOf(SphinxDirective):
    """The first panel of a notebook that was run, such as `{panel} handoff_restart`: what it shows is beside the page already."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Its controls as they were saved, and the script that shows them."""
        path = Path(self.env.srcdir) / "notebooks" / f"{self.arguments[0]}.ipynb"
        if not path.is_file():  # a book of some pages only
            return []
        self.env.note_dependency(str(path))
        saved = nbformat.read(path, 4).metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
        found = [
            one["state"]["config"] for one in saved.get("state", {}).values() if "controls" in one["state"].get("config", {})
        ]
        if not found:
            raise self.error(f"{path.name} has no panel: run it first")
        script = module("common", "panel").replace("export default", "const panel =").replace("export ", "")
        config = json.dumps(found[0]).replace("</", "<\\/")
        shown = f"panel.render({{ model: {{ get: () => ({config}) }}, el: document.getElementById('panel-of-{self.arguments[0]}') }});"
        page = f'<div id="panel-of-{self.arguments[0]}" class="panel-here"></div><style>{STYLE}</style>'
        return [nodes.raw("", f'{page}<script type="module">{script}\n{shown}</script>', format="html")]


def equip(_app: object, _page: str, _template: str, context: dict, _doctree: object) -> None:
    """Give a page the switch, a place to skip to, and a word for readers without JavaScript, as far as it has code or sliders."""
    body = context.get("body", "")
    sliders = PANEL in body
    above = (WITHOUT if sliders else "") + (SWITCH if "above-input" in body else "")
    body = body.replace(PANEL, f'<div id="sliders" tabindex="-1"></div>{PANEL}', 1)
    body = body.replace(
        '<div role="list" class="citation-list">', '<div class="citation-list">'
    )  # Sphinx gives it no list items
    context["body"] = body.replace("</h1>", f"</h1>{above}", 1)
