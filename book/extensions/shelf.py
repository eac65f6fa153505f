"""A Sphinx extension for what stands around the text: how to run a page yourself, short titles of other pages, the repository."""

from html import escape
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import docname_join

WIDGET = "application/vnd.jupyter.widget-view+json"
# The repository, .venv and the built book: 2.8 GB measured (du) after make test and make book.
DISK = "3 GB of disk with torch for CPUs"


def setup(app: object) -> dict:
    """Add them to the build."""
    app.connect("config-inited", offer_repository)
    app.connect("html-page-context", offer_to_run)
    app.connect("html-page-context", shorten_neighbours)
    app.add_post_transform(ShortTitles)
    app.add_role("repository", repository)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def offer_repository(_app: object, config: object) -> None:
    """Have the theme's button to the repository where its address is set."""
    config.html_theme_options["use_repository_button"] = bool(address(config))


def address(config: object) -> str:
    """The address of the repository as `_config.yml` has it, or nothing."""
    return (config.html_theme_options.get("repository_url") or "").rstrip("/")


def repository(_role: str, _raw: str, text: str, _line: int, inliner: object, *_: object) -> tuple[list, list]:
    """{repository}`words`: the words, as a link to the repository where its address is set."""
    url = address(inliner.document.settings.env.config)
    return [nodes.reference("", text, refuri=url) if url else nodes.Text(text)], []


def offer_to_run(app: object, page: str, _template: str, context: dict, _doctree: object) -> None:
    """Put a box that opens under the title of a notebook's page: the ways to run it, and what each needs."""
    path = Path(app.env.doc2path(page)) if page in app.env.found_docs else None
    if path is None or path.suffix != ".ipynb" or "</h1>" not in context.get("body", ""):
        return
    notebook = nbformat.read(path, as_version=4)
    sliders = any(WIDGET in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))
    ways = [("In JupyterLab, with the code", f"make lab  # then open {path.name}")]
    if sliders:
        ways.append(("Its sliders and figures without the code, by Voila", f".venv/bin/voila notebooks/{path.name}"))
    ways.append(("Without a window; the result goes to build/runs", f".venv/bin/rlli run {path.stem}"))
    items = "".join(
        f'<li>{what}:<div class="highlight notranslate"><pre>{escape(command)}</pre></div></li>' for what, command in ways
    )
    about = notebook.metadata.get("rlli", {})
    about = about if "wall_s" in about else {}  # one that was not run has its profile only
    cost = f"{_time(about['wall_s'])}, {about['peak_memory_mib'] / 1024:.1f} GiB of memory" if about else "not run yet"
    made = (
        f" Time and memory are those of the run on this page (profile {about['profile']}; {escape(about['machine'])})."
        if about
        else ""
    )
    given = f'<a href="{context["pathto"](f"_sources/{page}.ipynb", 1)}" download>this notebook with its outputs</a>'
    url = address(app.config)
    place = f'<a href="{escape(url)}">the repository</a>' if url else "the repository"
    box = (
        f'<details class="run-it"><summary>Run this page yourself <span>{cost}, no GPU</span></summary>'
        f"<p>In a copy of {place}, after <code>make book</code> or <code>make lab</code> has installed what it needs, once "
        f"(Python 3.11, {DISK}, network):</p><ul>{items}</ul>"
        f"<p>None of them needs a GPU or, from then on, the network.{made} For reading elsewhere: {given}.</p></details>"
    )
    context["body"] = context["body"].replace("</h1>", f"</h1>{box}", 1)


def shorten_neighbours(app: object, page: str, _template: str, context: dict, _doctree: object) -> None:
    """Name the pages before and after by their short titles."""
    if page not in app.env.external_site_map:
        return
    for key, name in zip(("prev", "next"), app.builder.relations.get(page, [None] * 3)[1:]):
        item = app.env.external_site_map.get(name)
        if context.get(key) and item is not None and item.title:
            context[key]["title"] = escape(item.title)


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.0f} s"


class ShortTitles(SphinxPostTransform):
    """References to a page without words of their own take its short title from the contents, not the whole finding."""

    default_priority = 5  # before references are resolved

    def run(self, **_given: object) -> None:
        """Give them the words."""
        for node in self.document.findall(addnodes.pending_xref):
            if node.get("reftype") != "doc" or node.get("refexplicit"):
                continue
            item = self.env.external_site_map.get(docname_join(node.get("refdoc", self.env.docname), node["reftarget"]))
            if item is not None and item.title:
                node["refexplicit"] = True
                node.replace_self(_with_words(node, item.title))


def _with_words(node: nodes.Element, words: str) -> nodes.Element:
    """A copy of a reference that shows `words`."""
    copy = node.copy()
    copy += nodes.inline(words, words, classes=["doc"])
    return copy
