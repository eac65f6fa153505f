"""A server and its devices: what they share, what they refuse, and what happens when one of them dies."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest
import torch
from PIL import Image

from rlli_core import Link, SplitDiffusion, SplitPlan
from rlli_core.errors import InvalidArgument, NoAnswer, UnusableFile
from rlli_core.files import DATA
from rlli_core.machines import ADDRESS, MOST_CHARACTERS, MOST_REQUEST, Request, Server, ask
from rlli_core.records import Handoff
from rlli_core.round import serve

ASKED = Request("a cat", 2, 3, seed=7, bep=0.1)


@pytest.fixture
def server(chain):
    with Server(chain, window_s=0.05) as running:
        yield running


def at_once(url, requests):
    with ThreadPoolExecutor(len(requests)) as devices:
        return list(devices.map(lambda request: ask(url, request, timeout_s=300), requests))


def together(chain, requests, **how):
    """What devices get whose requests wait already when the server begins."""
    server = Server(chain, window_s=0.5, **how)
    waiting = [server.put(request) for request in requests]
    with server:
        return [Handoff.from_bytes(answer.result(300)) for answer in waiting]


def test_devices_that_ask_together_get_what_a_round_gives_them(chain):
    steps, beps, told = (1, 4, 3), (0.0, 0.1, 0.3), []
    requests = [Request("a cat", 2, count, seed=7, bep=bep, flip_seed=k) for k, (count, bep) in enumerate(zip(steps, beps))]
    got = together(chain, requests, tell=told.append)
    assert chain.denoiser_calls == 2 and chain.on_step is None
    assert [re.sub(r"[\d.]+ s$", "", line) for line in told] == ["2 steps towards 'a cat' for 3 in "]
    prompts, plan = ["a dog", "a", "b"], SplitPlan(2, steps)
    made = serve(chain, [Link()] * 3, None, "a cat", prompts, (), plan, None, 7, beps=beps, flip_seeds=range(3))
    for k, request in enumerate(requests):
        assert sorted(got[k].plan.steps_per_device) == [1, 3, 4] and got[k].link == made.received[k].link
        assert chain.device_denoise(got[k], prompts[k], request.plan).tobytes() == made.images[k].tobytes()


def test_power_fading_and_number_format_are_the_links(chain):
    link = Link(bits=4, modulation="dpsk", pilots=50)
    with Server(chain, link, window_s=0) as server:
        got = ask(server.url, Request("a cat", 2, 3, seed=7, power_w=60.0))
    sent = chain.server_denoise("a cat", SplitPlan(2, [3]), 7)
    assert got.link == link.transmit(sent, power_w=60.0, seed=7).link and got.space == sent.space


def test_only_the_same_start_is_shared(chain):
    pairs = {
        "same": ASKED,
        "similar": Request("a dog", 2, 3, seed=7, bep=0.1),
        "other": Request("a tree", 2, 3, seed=7, bep=0.1),
    }
    pairs |= {"seed": Request("a cat", 2, 3, seed=8, bep=0.1), "t0": Request("a cat", 3, 3, seed=7, bep=0.1)}
    for name, request in pairs.items():
        before, shared = chain.denoiser_calls, name in ("same", "similar")
        one, two = together(chain, [ASKED, request], groups=[["a dog", "a cat"], ["a tree"]])
        assert chain.denoiser_calls - before == (2 if shared else 2 + request.shared_steps)
        assert two.prompt == ("a tree" if name == "other" else "a cat") and two.plan.device_steps == (3,) * (1 + shared)
    assert [got.prompt for got in together(chain, [ASKED, pairs["similar"]])] == ["a cat", "a dog"]


def test_fifty_devices_at_once_each_get_their_own(chain):
    requests = [Request("abcde"[k % 5], 1 + k % 2, 2, seed=k % 3, bep=0.1, flip_seed=k) for k in range(50)]
    with Server(chain, window_s=0.2) as server:
        got = at_once(server.url, requests)
    assert chain.denoiser_calls <= 75  # 30 starts; none is served more often than there were windows
    for request, one in zip(requests, got):
        sent = chain.server_denoise(request.prompt, request.plan, request.seed)
        assert one.prompt == request.prompt and one.latent.equal(Link().transmit(sent, bep=0.1, seed=request.flip_seed).latent)


def raw(server, text, close=True):
    """Send some bytes as they are; returns what comes back, or leaves at once."""
    with socket.create_connection(server.server_address, timeout=30) as connection:
        connection.sendall(text)
        if close:
            return None
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(2**16), b""))


def post(server, body, address=ADDRESS, kind="application/json", method="POST"):
    connection = HTTPConnection(*server.server_address, timeout=30)
    connection.request(method, address, body, {"Content-Type": kind})
    response = connection.getresponse()
    return response.status, response.read().decode(errors="replace")


def test_a_bad_request_gets_one_line_and_the_next_one_a_handoff(server):
    good = {"prompt": "a", "shared_steps": 2, "device_steps": 3, "bep": 0.1}
    for change, allowed in [
        ({"prompt": 3}, "prompt=3"), ({"prompt": "x" * (MOST_CHARACTERS + 1)}, "1000 characters at most"), ({"shared_steps": 0}, "in 1..200"),
        ({"device_steps": 199}, "in 0..198"), ({"device_steps": None}, "device_steps=None"), ({"seed": -1}, "seed=-1"), ({"bep": 0.6}, r"[0, 0.5]"),
        ({"power_w": 1.0}, "exactly one of the two"), ({"bep": None}, "exactly one"), ({"bep": None, "power_w": 1e7}, "[0, 1e+06]"),
        ({"flip_seed": 0.5}, "flip_seed=0.5"), ({"other": 1}, "an object with some of prompt, shared_steps"), ({"bep": float("nan")}, "bep=nan"),
        ({"prompt": "\ud800"}, "prompt="),
    ]:  # fmt: skip
        status, line = post(server, json.dumps(good | change))
        assert status == 400 and allowed in line and line.count("\n") == 1 and len(line) < 500, line
    for body in ("", "{", "[]", "3", "null", "\xff", "[" * 10_000, "9" * 10_000):
        status, line = post(server, body)
        assert status == 400 and line.startswith("request=") and line.count("\n") == 1 and len(line) < 1_000, line
    for wrong, status, said in [
        ({"address": "/"}, 404, "devices POST to /handoff"), ({"address": "/../handoff?"}, 404, "devices POST"), ({"method": "GET"}, 404, "devices POST"),
        ({"method": "PUT"}, 501, "PUT"), ({"kind": "text/plain"}, 415, "application/json"), ({"body": "x" * (MOST_REQUEST + 1)}, 413, str(MOST_REQUEST)),
    ]:  # fmt: skip
        told = post(server, **{"body": json.dumps(good)} | wrong)
        assert told[0] == status and said in told[1] and told[1].count("\n") == 1, told
    for text in (
        b"nonsense\r\n\r\n",
        b"POST /handoff HTTP/1.1\r\n\r\n",
        b"POST /handoff HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"\0" * 70_000,
    ):
        answer = raw(server, text, close=False)
        assert b" 4" in answer or answer.count(b"\n") == 1, answer  # without a version it is HTTP 0.9: no head
    assert post(server, json.dumps(good))[0] == 200


def test_a_device_that_dies_takes_nobody_along(chain, capfd):
    body = json.dumps({"prompt": "a cat", "shared_steps": 2, "device_steps": 3, "seed": 7, "bep": 0.1}).encode()
    head = b"POST /handoff HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Server(chain, window_s=0.3) as server:
        for text in (b"", b"POST /hand", head, head + body[:20], head + body):
            raw(server, text)
        idle = socket.create_connection(server.server_address)
        got = ask(server.url, ASKED, timeout_s=300)
        assert got.latent.equal(Link().transmit(chain.server_denoise("a cat", SplitPlan(2, [3]), 7), bep=0.1, seed=7).latent)
        idle.close()
    assert "Traceback" not in capfd.readouterr().err


def test_a_server_is_ended_in_mid_work_and_another_one_takes_its_place(chain):
    began = threading.Event()
    chain.on_step = None
    with Server(chain, window_s=0) as server, ThreadPoolExecutor(2) as devices:
        served = ask(server.url, ASKED, timeout_s=300)
        chain.denoiser.on_step = lambda *_: (began.set(), time.sleep(0.05), server._look_up())
        waiting = [devices.submit(ask, server.url, Request("a cat", 190, 3, seed=k, bep=0.1), 60) for k in range(2)]
        assert began.wait(60)
        server.shutdown()
        for one in waiting:
            with pytest.raises(NoAnswer, match="the server was ended|does not answer"):
                one.result(60)
    assert chain.denoiser_calls < 100
    with pytest.raises(NoAnswer, match="does not answer .*is `rlli serve` running there"):
        ask(server.url, ASKED, timeout_s=300)
    with Server(chain, port=server.server_address[1], window_s=0) as again:
        assert again.url == server.url and ask(again.url, ASKED).to_bytes() == served.to_bytes()
        with pytest.raises(InvalidArgument, match="host, port=.*at which nobody listens"):
            Server(chain, port=again.server_address[1])


def test_an_answer_that_is_cut_off_or_something_else_is_told_in_one_line(chain):
    whole = Link().transmit(chain.server_denoise("a cat", SplitPlan(2, 3), 7), bep=0.1, seed=7).to_bytes()
    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole)
    answers = {
        head + whole: None, head + whole[:-1]: UnusableFile, head + whole[:50]: UnusableFile, head: UnusableFile, b"": NoAnswer,
        b"HTTP/1.0 200 OK\r\n\r\n<html>": UnusableFile, b"nonsense\r\n\r\n": NoAnswer, b"HTTP/1.0 500 No\r\n\r\n": NoAnswer,
        b"HTTP/1.0 500 No\r\n\r\nno room\nsecond line": NoAnswer, head[:10]: NoAnswer,
    }  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as fake:
        url = f"http://127.0.0.1:{fake.getsockname()[1]}/"
        for answer, error in answers.items():
            with ThreadPoolExecutor(1) as device:
                asked = device.submit(ask, url, ASKED, 30)
                connection, _ = fake.accept()
                with connection:
                    request = b""
                    while not request.endswith(b"}"):
                        request += connection.recv(2**16)
                    connection.sendall(answer)
                if error is None:
                    assert asked.result(60).to_bytes() == whole
                    continue
                with pytest.raises(error) as raised:
                    asked.result(60)
                assert url in str(raised.value) and "\n" not in str(raised.value) and "second line" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [None, 3, "", "127.0.0.1:8000", "https://127.0.0.1:1", "http://", "http://a:b", "http://a:99999", "ftp://a", "http://a/b"],
)
def test_what_is_no_url_of_a_server_is_refused(url):
    with pytest.raises(InvalidArgument, match="url="):
        ask(url, ASKED)


@pytest.mark.parametrize(
    "changes",
    [{"chain": 3}, {"link": 3}, {"host": 3}, {"host": "no such host"}, {"host": "192.0.2.1"}, {"port": -1}, {"port": 70000},
     {"window_s": -1}, {"window_s": 61}, {"groups": "ab"}],
)  # fmt: skip
def test_a_server_that_cannot_be_is_refused(chain, changes):
    with pytest.raises(InvalidArgument):
        Server(**{"chain": chain} | changes)


# From here on as processes of their own, by the command line.


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_pipeline):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


def command(*arguments, place=()):
    return subprocess.Popen(
        [*place, sys.executable, "-m", "rlli_core.book.cli", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(DATA.parent), "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )  # fmt: skip


@contextmanager
def serving(model, how, *arguments, place=()):
    """A server as a process; gives its URL, ends it by a signal, and looks at how it left."""
    process = command("serve", "--model", model, "--port", 0, *arguments, place=place)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield re.search(r"http://\S+:\d+", line)[0]
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        assert (
            process.returncode == 130 and err.endswith("rlli: interrupted; what was done is kept\n") and "Traceback" not in err
        ), err
    finally:
        process.kill()
        process.communicate()


def finish(url, model, out, prompt, *arguments, place=()):
    return command("finish", url, prompt, "--model", model, "--out", out, *arguments, place=place)


def told(process, status=0):
    out, err = process.communicate(timeout=300)
    assert process.returncode == status and "Traceback" not in err, err
    return out + err


@pytest.mark.slow
def test_three_processes_make_the_pictures_of_one(tmp_path, model):
    prompts, powers = ["a dog", "a cow"], [50.0, 120.0]
    with serving(model, signal.SIGTERM, "--window", 1) as url:
        common = ("--server-prompt", "a cat", "--shared", 2, "--steps", 3, "--seed", 5)
        devices = [
            finish(url, model, tmp_path / f"{k}.png", prompts[k], *common, "--power", powers[k], "--flip-seed", 5 + k)
            for k in range(2)
        ]
        said = [told(device) for device in devices]
        refused = finish(url, DATA / "models" / "embedded-sd", tmp_path / "none.png", "a dog", *common)
        assert "hand-off is of " + model.name in (line := told(refused, 2)) and "here is embedded-sd" in line
    gone = finish(url, model, tmp_path / "none.png", "a dog", *common)
    assert "does not answer" in told(gone, 1)
    assert all("2 steps towards 'a cat' there, shared with" in one for one in said)
    chain = SplitDiffusion.from_pretrained(model, scheduler="ddim")
    made = serve(chain, [Link()] * 2, None, "a cat", prompts, (), SplitPlan(2, (3, 3)), powers, seed=5)
    for k in range(2):
        made.images[k].save(tmp_path / "one process.png")
        assert (tmp_path / f"{k}.png").read_bytes() == (tmp_path / "one process.png").read_bytes()
    assert not (tmp_path / "none.png").exists()


@pytest.fixture
def apart():
    """Two network namespaces with a cable between them; call it with what the cable is to do, as `tc qdisc` has it."""
    names = [f"rlli{os.getpid()}{end}" for end in "ab"]

    def run(*words):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this machine does not allow `{' '.join(words)}`: {done.stderr.strip()}")

    def build(*quality):
        if not (shutil.which("ip") and shutil.which("tc")):
            pytest.skip("there is no ip and tc here (on Debian: apt-get install iproute2)")
        for name in names:
            run("ip", "netns", "add", name)
        run("ip", "link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        for k, name in enumerate(names):
            run("ip", "-n", name, "addr", "add", f"10.213.0.{k + 1}/24", "dev", "cable")
            run("ip", "-n", name, "link", "set", "cable", "up")
            run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "cable", "root", *quality)
        return "10.213.0.1", *(("ip", "netns", "exec", name) for name in names)

    yield build
    for name in names:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "quality",
    [
        ("netem", "delay", "60ms", "20ms", "loss", "5%"),
        ("tbf", "rate", "64kbit", "burst", "1600", "latency", "30ms"),  # slow, and what does not fit is lost
    ],
)
def test_over_a_bad_network_the_picture_is_the_same(tmp_path, model, apart, quality):
    host, there, here = apart(*quality)
    with serving(model, signal.SIGINT, "--host", host, place=there) as url:
        common = ("--shared", 2, "--steps", 3, "--bep", 0.1)
        told(finish(url, model, tmp_path / "far.png", "a cat", *common, place=here))
    chain = SplitDiffusion.from_pretrained(model)
    got = Link().transmit(chain.server_denoise("a cat", SplitPlan(2, 3), 0), bep=0.1, seed=0)
    with Image.open(tmp_path / "far.png") as far:
        assert far.tobytes() == chain.device_denoise(got, "a cat").tobytes()
