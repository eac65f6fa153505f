"""A server and its devices as commands of their own: `rlli serve` and `rlli finish`."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from ..errors import InvalidArgument, check_integer, check_number
from ..files import DATA, check_writable, of_checkout, read_yaml, whole

ModelOption = Annotated[str, Option(help='"embedded", a folder or a hub id; with DDIM on its own noise schedule.')]


def serve(
    port: Annotated[int, Option(help="Where to listen; 0: any that is free.")] = 8000,
    host: Annotated[
        str, Option(help="An address of this machine. Whoever reaches it may ask: there is no password.")
    ] = "127.0.0.1",
    model: ModelOption = "embedded",
    window: Annotated[float, Option(help="Seconds that a request waits for others to share its steps.")] = 0.2,
    similar: Annotated[bool, Option("--similar", help="Share also between prompts of one group of data/prompts.yaml.")] = False,
) -> int:
    """Denoise the shared steps for whoever asks by `rlli finish`, until Ctrl-C."""
    from ..diffusion.split import SplitDiffusion
    from ..machines import LONGEST_WINDOW_S, Server

    check_integer("--port", port, 0, 65535)
    check_number("--window", window, 0, LONGEST_WINDOW_S)
    groups = read_yaml(of_checkout(DATA / "prompts.yaml"), "groups")["groups"] if similar else []
    chain = SplitDiffusion.from_pretrained(model, scheduler="ddim")
    server = Server(chain, host=host, port=port, window_s=window, groups=groups, tell=lambda line: print(line, flush=True))
    print(f"serving {model} at {server.url}; Ctrl-C ends it", flush=True)
    if not host.startswith("127."):
        print(f"rlli: whoever reaches {host} may ask, without a password, and nothing is encrypted", file=sys.stderr)
    server.run()
    return 0


def finish(
    url: Annotated[str, Argument(metavar="URL", help="Of the server, as `rlli serve` prints it.")],
    prompt: Annotated[str, Argument(metavar="PROMPT", help="What this device wants.")],
    server_prompt: Annotated[str | None, Option(help="What the server denoises towards (default: the same).")] = None,
    shared: Annotated[int, Option(help="Steps at the server, t0.")] = 4,
    steps: Annotated[int, Option(help="Steps here, t_k.")] = 6,
    seed: Annotated[int, Option(help="Of the initial noise; devices that share it share the server's steps.")] = 0,
    bep: Annotated[float | None, Option(help="Bit error probability of the link (default: 0.03).")] = None,
    power: Annotated[float | None, Option(help="Instead of --bep, transmit power in watts.")] = None,
    flip_seed: Annotated[int | None, Option(help="Of the bit errors (default: --seed).")] = None,
    receiver: Annotated[Literal["paper", "noise-aware"], Option(help="Whether to allow for the bit errors.")] = "paper",
    restart: Annotated[int | None, Option(help="An earlier timestep to start from.")] = None,
    model: ModelOption = "embedded",
    out: Annotated[Path, Option(help="Where to write the picture, as PNG.")] = Path("image.png"),
) -> int:  # fmt: skip
    """Get a half-made picture from a server, over a link that flips bits, and finish it here."""
    from ..diffusion.split import SplitDiffusion
    from ..machines import Request, ask

    if bep is None and power is None:
        bep = 0.03
    wanted = prompt if server_prompt is None else server_prompt
    request = Request(wanted, shared, steps, seed, bep=bep, power_w=power, flip_seed=flip_seed)
    if out.is_dir():
        raise InvalidArgument("--out", str(out), "a file")
    check_writable(out.parent)
    got = ask(url, request)
    chain = SplitDiffusion.from_pretrained(model, scheduler="ddim")
    image: Any = chain.device_denoise(got, prompt, request.plan, receiver=receiver, restart=restart)
    with whole(out) as place:
        image.save(place, format="PNG")
    others, link = len(got.plan.steps_per_device) - 1, got.link
    errors = f", {link.flipped_bits / link.payload_bits:.1%} of its bits wrong" if link else ""
    print(
        f"{shared} steps towards {got.prompt!r} there, shared with {others} other{'' if others == 1 else 's'}{errors}; {steps} here"
    )
    print(f"written to {out}")
    return 0
