"""The exported model, a local server for it, and a page in a headless Chromium that reaches nothing else."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import Browser, Page, Route, sync_playwright

from rlli_core import PersonaAgent, SplitDiffusion
from rlli_core.book.browser.export import RUNTIME, export
from rlli_core.files import DATA

ROOT = DATA.parent
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PATIENCE_MS = 120_000  # a busy machine takes its time
EMPTY_PAGE = '<!doctype html><html lang="en"><title>test</title><link rel="icon" href="data:,"></html>'

PAGE = """<!doctype html><html lang="en" data-content_root="./"><meta charset="utf-8"><title>panel</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width"><style>{css}</style><body><div id="here"></div>
<script>globalThis.config = {config};</script><script type="module">{module}
panel.render({{ model: {{ get: () => globalThis.config }}, el: document.getElementById("here") }});</script>"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a line for every request."""

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="session")
def embedded() -> SplitDiffusion:
    """The embedded chain as the browser computes it: on the CPU, in fp32."""
    return SplitDiffusion.from_pretrained("embedded", device="cpu", dtype="fp32")


@pytest.fixture(scope="session")
def agent() -> PersonaAgent:
    """The embedded agent, likewise."""
    return PersonaAgent.from_pretrained("embedded", device="cpu", dtype="fp32")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, embedded: SplitDiffusion, agent: PersonaAgent) -> Path:
    """A site's folder with the models in engine/, the runtime in onnxruntime/ and an empty page."""
    site = tmp_path_factory.mktemp("site")
    assert export(site / "engine", embedded, agent)
    shutil.copytree(RUNTIME, site / "onnxruntime")
    (site / "index.html").write_text(EMPTY_PAGE)
    return site


@pytest.fixture(scope="session")
def settings(exported: Path) -> dict:
    """What `engine.json` says."""
    return json.loads((exported / "engine" / "engine.json").read_text())


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], str]]:
    """Call it with a folder for the address of a local server of it, such as http://127.0.0.1:4711."""
    servers = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; one a module, because other tests may not run under playwright's event loop."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install the package chromium (on Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Call it with an address for a page that reaches that server only; a script runs before all others.

    `page.problems` collects errors in the console, uncaught exceptions and requests to elsewhere.
    """
    contexts = []

    def open_(address: str, script: str = "", **how: object) -> Page:
        context = browser.new_context(**how)
        contexts.append(context)
        context.add_init_script(script or "0")
        page = context.new_page()
        page.problems = []
        home = "/".join(address.split("/")[:3]) + "/"

        def let_home_through(route: Route) -> None:
            if route.request.url.startswith(home):
                route.continue_()
            else:
                page.problems.append(f"request to {route.request.url}")
                route.abort()

        context.route("**/*", let_home_through)
        page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(address, timeout=PATIENCE_MS)
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(autouse=True)
def no_problems(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a problem on its module's `page`."""
    yield
    if {"page", "open_page"} <= set(request.fixturenames):
        assert request.getfixturevalue("page").problems == []


PANEL = {
    "name": "slider/1",
    "controls": [{"label": "own </steps>", "choice": False, "texts": ["1", "2"], "start": 0, "stops": [0, 1]}],
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of two pages under the real configuration: an equation, and a notebook with a saved slider and a picture."""
    source = tmp_path_factory.mktemp("book")
    shutil.copy(ROOT / "_config.yml", source)
    for part in ("assets", "extensions"):
        shutil.copytree(ROOT / "book" / part, source / "book" / part)
    (source / "web" / "panels" / "slider" / "1").mkdir(parents=True)  # the explorer's pictures and model: tests/book/browser
    frames = {"texts": ["told one", "told two", ""], "parts": [[-1, 100, 0, 2], [-1, 100, 1, 2]], "frames": [[0, 0], [1, 1]]}
    (source / "web" / "panels" / "slider" / "1" / "index.js").write_text(
        f'(globalThis.rlliPanels ??= {{}})["slider/1"] = {json.dumps(frames)};'
    )
    (source / "book" / "references.bib").write_text("")
    (source / "book" / "intro.md").write_text(
        "# A page\n\n$$ z = a + b $$ (sum)\n\nEquation {eq}`sum`, {numref}`fig-dot`, {doc}`/notebooks/slider`.\n\n"
        "It loses {rec}`slider.lost_bep_0.06 * 2:.0%` in {rec}`other.lost:word`.\n\n"
        "```{panel} slider\n```\n"
    )
    claims = [
        {"id": f"C{k}", "title": f"It {what}", "summary": f"✗ not reproduced (0 of {k})", "notebook": page}
        for k, what, page in ((1, "slides", "slider"), (2, "glides", "slider"), (3, "rides", "other"))
    ]  # fmt: skip
    numbers = {"slider": {"lost_bep_0.06": 0.125}, "other": {"lost": 3.0}}
    (source / "book" / "claims.json").write_text(json.dumps({"claims": claims, "numbers": numbers}))
    (source / "book" / "claims.md").write_text("# Claims\n\n## C1\n\n## C2\n\n## C3\n")
    (source / "book" / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters: [{file: notebooks/slider, title: Slide}, {file: notebooks/other}, {file: book/claims}]\n"
    )
    state = {
        "state": {
            "a": {
                "model_module": "@jupyter-widgets/base",
                "model_module_version": "2.0.0",
                "model_name": "LayoutModel",
                "state": {},
            },
            "b": {
                "model_module": "@jupyter-widgets/controls",
                "model_module_version": "2.0.0",
                "model_name": "IntSliderModel",
                "state": {"layout": "IPY_MODEL_a", "value": 3},
            },
            "c": {  # of a panel of ours, whose frames `site` puts beside the page
                "model_module": "anywidget",
                "model_module_version": "0.11.0",
                "model_name": "AnyModel",
                "state": {"config": PANEL},
            },
        },
        "version_major": 2,
        "version_minor": 0,
    }
    view = {"application/vnd.jupyter.widget-view+json": {"version_major": 2, "version_minor": 0, "model_id": "b"}}
    parameters = new_code_cell("seed: int = 1", execution_count=1, metadata={"tags": ["parameters"]})
    notice = "```{admonition} What the scores are\n:class: note\nThose of an agent.\n```"
    cell = new_code_cell("slider", execution_count=1, outputs=[new_output("display_data", {**view, "text/plain": "slider"})])
    told = {"figure": {"caption": "A dot.", "name": "fig-dot"}, "image": {"alt": "One black dot."}}
    picture = new_code_cell(
        "dot", execution_count=2, outputs=[new_output("display_data", {"image/png": DOT})], metadata={"mystnb": told}
    )
    notebook = new_notebook(cells=[new_markdown_cell(f"# A slider\n\n{notice}"), parameters, cell, picture])
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "widgets": {"application/vnd.jupyter.widget-state+json": state},
        "rlli": {"wall_s": 150, "peak_memory_mib": 512, "profile": "smoke", "machine": "<M>"},
    }
    (source / "notebooks").mkdir()
    nbformat.write(notebook, source / "notebooks" / "slider.ipynb")
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Other")]), source / "notebooks" / "other.ipynb")
    command = [
        Path(sys.executable).with_name("jupyter-book"),
        "build",
        source,
        "--toc",
        source / "book" / "_toc.yml",
        "-W",
        "-n",
    ]
    built = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return source / "_build" / "html"
