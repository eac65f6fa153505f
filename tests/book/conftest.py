"""The exported model, a local server for it, and a page in a headless Chromium that reaches nothing else."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from rlli_core import PersonaAgent, SplitDiffusion
from rlli_core.book.browser.export import RUNTIME, export

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
