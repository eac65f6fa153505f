"""A Sphinx extension for what the notebooks recorded: numbers in the text of pages, and verdicts under the titles of notebooks.

Both come from book/claims.json, which `rlli claims --write` makes.
"""

from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError

from rlli_core.book.ledger.expressions import written
from rlli_core.errors import LedgerError
from rlli_core.files import read_json


def setup(app: object) -> dict:
    """Add them to the build."""
    app.connect("builder-inited", read)
    app.connect("html-page-context", tell_verdicts)
    app.add_role("rec", number)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def read(app: object) -> None:
    """Remember the claims, and the numbers as `notebook.name`."""
    data = read_json(Path(app.srcdir) / "book" / "claims.json", "claims", "numbers")
    app.rlli_claims = [*data["claims"], *data.get("own", [])]
    app.rlli_numbers = {f"{name}.{key}": value for name, found in data["numbers"].items() for key, value in found.items()}


def number(_role: str, _raw: str, text: str, line: int, inliner: object, *_: object) -> tuple[list, list]:
    """{rec}`notebook.name:format`, or an expression over such names as in data/claims.yaml; what is unknown ends the build."""
    env = inliner.document.settings.env
    env.note_dependency("book/claims.json")
    try:
        return [nodes.Text(written(text, env.app.rlli_numbers))], []
    except LedgerError as error:
        raise ExtensionError(f"{env.docname}:{line}: {error}") from error


def tell_verdicts(app: object, page: str, _template: str, context: dict, _doctree: object) -> None:
    """Put the verdicts on a page's claims right under its title: nobody should have to read to the end for them."""
    items = "".join(
        f'<li><a href="{context["pathto"]("book/claims")}#{claim["id"].lower()}">{claim["id"]}</a> {escape(claim["title"])}: '
        f"<b>{escape(claim['summary'])}</b></li>"
        for claim in app.rlli_claims
        if page == f"notebooks/{claim['notebook']}"
    )
    if items:
        box = f'<ul class="verdicts" aria-label="Claims that this page measures">{items}</ul>'
        context["body"] = context["body"].replace("</h1>", f"</h1>{box}", 1)
