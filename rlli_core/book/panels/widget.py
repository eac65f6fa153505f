"""What the panels share: one text of JavaScript, and a worker that answers and drops what nobody waits for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anywidget

from ...errors import RlliError

STATIC = Path(__file__).parent / "static"
STYLE = "".join((STATIC / f"{name}.css").read_text(encoding="utf-8") for name in ("panel", "screen"))


class Stale(Exception):
    """The reader has moved on; nobody waits for this result."""


def module(*names: str) -> str:
    """Scripts of `static/` as one module: a widget's code travels as text, from which nothing can be imported."""
    lines = "".join((STATIC / f"{name}.mjs").read_text(encoding="utf-8") for name in names).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("import "))


class Answering(anywidget.AnyWidget):
    """A panel whose requests are answered in a worker, so that a newer one can make the older ones stale.

    A kind of panel says how to answer in `_respond` and what a notebook shows of it where no panel can be, in `__repr__`.
    """

    def __init__(self, **traits: object):
        super().__init__(**traits)
        self._latest, self._worker = 0, ThreadPoolExecutor(1)
        self.on_msg(lambda _widget, content, _buffers: self.ask(content))

    def ask(self, content: dict) -> None:
        """Answer a request of the panel, in the worker; a request to run makes all earlier ones stale."""
        if content["kind"] == "run":
            self._latest = content["id"]
        self._worker.submit(self._answer, content)

    def _answer(self, content: dict) -> None:
        number = content["id"]
        try:
            if content["kind"] == "run":
                self._check(number)
            value = self._respond(number, content)
        except Stale:
            return
        except Exception as error:  # the panel must hear of it, whatever it is
            self.send({"id": number, "kind": "error", "value": str(error) if isinstance(error, RlliError) else repr(error)})
            return
        self.send({"id": number, "kind": "done", "value": value})

    def _check(self, number: int) -> None:
        if number != self._latest:
            raise Stale

    def _respond(self, number: int, content: dict) -> object:
        raise NotImplementedError

    def __repr__(self) -> str:
        """Without the address in memory: this text stands in the committed notebooks."""
        return f"{type(self).__name__}()"
