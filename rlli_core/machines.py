"""Server and devices as processes of their own: half of a chain here, the other half there, and the hand-off in between.

A device asks by `POST /handoff` with a `Request` as JSON; the answer is the file of a `Handoff` as the simulated link delivered
it, which the device finishes with a chain of its own. Who asks within a window for the same start shares it. HTTP comes out of
the standard library: there is one address, and the work is one network that serves one group at a time. It has no password, no
encryption and no limit to how many may connect: it listens on this machine only, unless one knows who can reach it.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .channel import Link
from .diffusion.schedule import handoff_timestep
from .errors import (
    InvalidArgument,
    NoAnswer,
    RlliError,
    check_able,
    check_integer,
    check_list,
    check_number,
    check_seed,
    check_text,
    check_type,
    first_line,
    shown,
)
from .files import why
from .records import MOST_BYTES, Handoff, SplitPlan

if TYPE_CHECKING:
    from .diffusion.split import SplitDiffusion

ADDRESS, JSON = "/handoff", "application/json"
ENDED = "the server was ended"
MOST_STEPS = 200
MOST_CHARACTERS = 1000  # of a prompt
MOST_REQUEST = 2**14  # bytes: the longest prompt, each character escaped
MOST_WAITING = 256  # requests
MOST_POWER_W, LONGEST_WINDOW_S = 1e6, 60.0
PATIENCE_S = 10.0  # with a client that sends nothing, or takes nothing


@dataclass(frozen=True)
class Request:
    """What a device asks of a server.

    Args:
        prompt: what the server is to denoise towards, 1000 characters at most.
        shared_steps: t0, 1 or more.
        device_steps: t_k, 0 or more; with t0 200 at most.
        seed: of the initial noise; only devices that name the same one share steps.
        bep: bit error probability of the packet, in [0, 0.5]; or
        power_w: transmit power of the packet in watts, 0 to a million, averaged over the fading.
        flip_seed: of the bit flips; None takes `seed`.

    Raises:
        InvalidArgument: outside of this, or neither or both of BEP and power.
    """

    prompt: str
    shared_steps: int
    device_steps: int
    seed: int = 0
    bep: float | None = None
    power_w: float | None = None
    flip_seed: int | None = None

    def __post_init__(self) -> None:
        if len(check_text("prompt", self.prompt)) > MOST_CHARACTERS:
            raise InvalidArgument("prompt", self.prompt, f"a string of {MOST_CHARACTERS} characters at most")
        check_integer("shared_steps", self.shared_steps, 1, MOST_STEPS)
        check_integer("device_steps", self.device_steps, 0, MOST_STEPS - self.shared_steps)
        check_seed("seed", self.seed)
        if (self.bep is None) == (self.power_w is None):
            raise InvalidArgument("bep, power_w", (self.bep, self.power_w), "given one at a time: exactly one of the two")
        if self.bep is not None:
            check_number("bep", self.bep, 0, 0.5)
        if self.power_w is not None:
            check_number("power_w", self.power_w, 0, MOST_POWER_W)
        if self.flip_seed is not None:
            check_seed("flip_seed", self.flip_seed)

    @classmethod
    def of(cls, body: bytes) -> Request:
        """Read what a device sent."""
        try:
            values = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument("request", body, f"JSON ({first_line(error)})") from error
        try:
            return cls(**values)
        except TypeError as error:  # no object, or other names in it
            raise InvalidArgument("request", values, f"an object with some of {', '.join(cls.__annotations__)}") from error

    @property
    def plan(self) -> SplitPlan:
        """t0 and t_k of this device."""
        return SplitPlan(self.shared_steps, self.device_steps)


Waiting = tuple[Request, "Future[bytes]"]


class Server(ThreadingHTTPServer):
    """Denoises the shared steps for whoever asks, once for all who ask within a window for the same start.

    The same start: seed, t0, and the same prompt, or one of the same of some `groups`; then the prompt of whoever came first
    counts, and the grid is that of the longest chain. What a device gets is what `round.serve` gives it in such a group.

    Args:
        chain: the server's.
        link: to every device.
        host, port: where to listen; port 0 takes any that is free. See `url`.
        window_s: seconds that the first request waits for others, 0 to 60.
        groups: of prompts that may share steps.
        tell: called with a line on each group that was served.

    Raises:
        InvalidArgument: an argument outside of this, or an address that this machine does not have or somebody else listens at.
    """

    daemon_threads = True
    request_queue_size = 128  # that connect at once

    def __init__(
        self,
        chain: SplitDiffusion,
        link: Link | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        window_s: float = 0.2,
        groups: Sequence[Sequence[str]] = (),
        tell: Callable[[str], object] | None = None,
    ):
        self.chain = check_able("chain", chain, "server_denoise", "a SplitDiffusion")
        self.link = Link() if link is None else check_able("link", link, "transmit", "a Link")
        self.window_s, self.tell = check_number("window_s", window_s, 0, LONGEST_WINDOW_S), tell or (lambda line: None)
        self._group = {prompt: k for k, group in enumerate(check_list("groups", groups, 0)) for prompt in group}
        self._waiting: queue.Queue[Waiting] = queue.Queue(MOST_WAITING)
        self._ends = threading.Event()
        address = (check_text("host", host), check_integer("port", port, 0, 65535))
        try:
            super().__init__(address, _Handler)
        except (OSError, ValueError) as error:
            allowed = f"an address of this machine at which nobody listens ({why(error)})"
            raise InvalidArgument("host, port", address, allowed) from error

    def server_bind(self) -> None:
        """As `HTTPServer`, without asking the name service what this machine is called."""
        TCPServer.server_bind(self)

    @property
    def url(self) -> str:
        """Where devices find it."""
        return "http://{}:{}".format(*self.server_address[:2])

    def run(self) -> None:
        """Serve until `shutdown` is called in another thread, or an exception such as that of Ctrl-C comes here."""
        worker = threading.Thread(target=self._work, daemon=True)
        worker.start()
        try:
            self.serve_forever(poll_interval=0.1)
        finally:
            self._ends.set()
            self.server_close()
            worker.join()
            while not self._waiting.empty():
                self._waiting.get_nowait()[1].set_exception(NoAnswer(ENDED))

    def __enter__(self) -> Server:
        """Run in a thread of its own until the block ends."""
        self._runs = threading.Thread(target=self.run, daemon=True)
        self._runs.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._runs.join()

    def put(self, request: Request) -> Future[bytes]:
        """Have a request wait for its group; the result is the file of the hand-off.

        Raises:
            InvalidArgument: more steps than the schedule has.
            NoAnswer: too many wait already, or the server ends.
        """
        self._look_up()
        handoff_timestep(self.chain.scheduler, request.plan)
        answer: Future[bytes] = Future()
        try:
            self._waiting.put_nowait((request, answer))
        except queue.Full:
            raise NoAnswer(f"{MOST_WAITING} requests wait already, ask again later") from None
        return answer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that dies is its own affair."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def _work(self) -> None:
        """Serve one window after another until the server ends, between two denoising steps if it must be."""
        before, self.chain.on_step = self.chain.on_step, self._look_up
        try:
            while not self._ends.is_set():
                groups: dict[object, list[Waiting]] = {}
                for request, answer in self._window():
                    start = (self._group.get(request.prompt, request.prompt), request.shared_steps, request.seed)
                    groups.setdefault(start, []).append((request, answer))
                for members in groups.values():
                    self._serve(members)
        finally:
            self.chain.on_step = before

    def _look_up(self, *_: object) -> None:
        if self._ends.is_set():
            raise NoAnswer(ENDED)

    def _window(self) -> list[Waiting]:
        """The requests of one window, which begins with the first of them; none where nobody asked for a while."""
        asked: list[Waiting] = []
        end = time.monotonic() + 0.1
        while (left := end - time.monotonic()) > 0:
            try:
                asked.append(self._waiting.get(timeout=left))
            except queue.Empty:
                break
            if len(asked) == 1:
                end = time.monotonic() + self.window_s
        return asked

    def _serve(self, members: list[Waiting]) -> None:
        first, sent, began = members[0][0], None, time.monotonic()
        for request, answer in members:
            try:
                if sent is None:
                    plan = SplitPlan(first.shared_steps, [each.device_steps for each, _ in members])
                    sent = self.chain.server_denoise(first.prompt, plan, first.seed)
                flips = request.seed if request.flip_seed is None else request.flip_seed
                got = self.link.transmit(sent, seed=flips, bep=request.bep, power_w=request.power_w)
                answer.set_result(got.to_bytes())
            except Exception as error:  # whatever is wrong with this one, the next one is served
                answer.set_exception(error)
        took = time.monotonic() - began
        with suppress(OSError):  # nobody reads it any more
            self.tell(f"{first.shared_steps} steps towards {shown(first.prompt)} for {len(members)} in {took:.2f} s")


class _Handler(BaseHTTPRequestHandler):
    """One connection: a request, and the hand-off or one line on what is wrong."""

    server: Server
    timeout = PATIENCE_S

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != ADDRESS:
            return self.send_error(HTTPStatus.NOT_FOUND, f"there is nothing at {shown(self.path)}; devices POST to {ADDRESS}")
        if not length.isdecimal() or len(length) > 9 or int(length) > MOST_REQUEST:
            return self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"say a Content-Length of {MOST_REQUEST} at most")
        if self.headers.get_content_type() != JSON:  # which no web page may send here unasked
            return self.send_error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"say Content-Type: {JSON}")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return None  # it has left
        try:
            data = self.server.put(Request.of(body)).result()
        except InvalidArgument as error:
            return self.send_error(HTTPStatus.BAD_REQUEST, str(error))
        except NoAnswer as error:
            return self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except Exception as error:
            return self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {first_line(error)}")
        return self._answer(HTTPStatus.OK, "application/octet-stream", data)

    def do_GET(self) -> None:
        self.send_error(HTTPStatus.NOT_FOUND, f"a server of hand-offs; devices POST to {ADDRESS}, as `rlli finish` does")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """One line of text, also for what the library refuses."""
        self._answer(code, "text/plain; charset=utf-8", f"{message or HTTPStatus(code).phrase}\n".encode())

    def _answer(self, code: int, kind: str, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """The server tells what it does itself."""


def ask(url: str, request: Request, timeout_s: float = 600.0) -> Handoff:
    """Ask a `Server` for a hand-off, as its link delivers it.

    Args:
        url: of the server, such as http://127.0.0.1:8000.
        timeout_s: seconds that the server may be silent, above 0, a day at most.

    Raises:
        InvalidArgument: no such URL.
        NoAnswer: nobody is there, or the server refuses; with its reason.
        UnusableFile: what came is damaged.
    """
    check_type("request", request, Request, "a Request")
    check_number("timeout_s", timeout_s, 0, 86400, open_low=True)
    try:
        parts = urlsplit(check_text("url", url))
        good, port = parts.scheme == "http" and parts.hostname and parts.path in ("", "/"), parts.port or 80
    except ValueError:
        good = None
    if not good:
        raise InvalidArgument("url", url, "http://HOST:PORT, as `rlli serve` prints it")
    connection = HTTPConnection(str(parts.hostname), port, timeout=timeout_s)
    try:
        connection.request("POST", ADDRESS, json.dumps(asdict(request)), {"Content-Type": JSON})
        response = connection.getresponse()
        data = response.read(MOST_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswer(f"{url} does not answer ({why(error)}): is `rlli serve` running there?") from error
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise NoAnswer(f"{url} refuses: {first_line(RlliError(data.decode(errors='replace')))}")
    return Handoff.from_bytes(data, f"the hand-off from {url}")
