"""The command line, `rlli`. Exit status: 0 when it did the work, 1 when that failed, 2 for a bad argument."""

import argparse
import ast
import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from . import checksums, notebooks, runs
from .errors import InvalidArgument, RlliError, RunFailed
from .paths import DATA

# Models that can stand in for the embedded ones: hub id -> size and licence.
EXTERNAL_MODELS = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "4 GB in 16-bit weights, CreativeML Open RAIL-M",
    "llava-hf/llava-1.5-7b-hf": "14 GB in 16-bit weights, Llama 2 Community License; a persona agent",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    args = _parser().parse_args(arguments)
    try:
        return args.command(args)
    except RlliError as error:
        print(f"rlli: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidArgument) else 1


def doctor(args: argparse.Namespace) -> int:
    """Say what this machine has and what will run on it."""
    import torch

    print(f"python      {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in ("rlli_core", "torch", "diffusers", "transformers", "numpy"):
        print(f"{name:<11} {metadata.version(name)}")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    print(f"device      {gpu or f'CPU, {os.cpu_count()} cores'}")
    print(f"disk        {shutil.disk_usage(DATA).free / 1e9:.0f} GB free")
    changed = checksums.changed()
    models = [path.name for path in _embedded_models()]
    print(f"models      {', '.join(models) or 'none'}")
    for name in changed:
        print(f"            data/{name} is not as in data/checksums.txt")
    ready = bool(models) and not changed
    print(f"notebooks   {len(notebooks.names())}: {'all will run' if ready else 'not all will run, see above'}")
    print(f"hub models  {'will run' if gpu else 'will run, at minutes an image without a GPU'}; see rlli models")
    return 0 if ready else 1


def list_notebooks(args: argparse.Namespace) -> int:
    """Each notebook with its figure, expected run time and parameters."""
    for name in notebooks.names():
        notebook = runs.read(notebooks.find(name))
        figure = re.match(r"fig(\d+)", name)
        print(f"{name}  [{f'Fig. {int(figure[1])}' if figure else 'no figure'}; {_expected_time(name, notebook)}]")
        print(f"    {notebooks.title_of(notebook)}")
        for parameter in notebooks.parameters_of(notebook).values():
            print(f"    {parameter.name}: {parameter.kind} = {parameter.value!r}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Execute notebooks; results and records go to build/runs/<profile>/."""
    if bool(args.names) == args.all:
        raise InvalidArgument("names", args.names, f"one or more of {', '.join(notebooks.names())}, or else --all")
    parameters = dict(args.parameter)
    if args.write_back and (parameters or args.profile != "smoke"):
        raise InvalidArgument("--write-back", True, "used with the smoke profile as it stands: that is what is committed")
    try:
        runs.run(
            None if args.all else args.names,
            args.profile,
            parameters,
            force=args.force,
            write_back=args.write_back,
            jobs=args.jobs,
        )
    except RunFailed as failure:
        print(f"rlli: {failure}", file=sys.stderr)
        # The types are checked before the run; a value out of its range is refused by the notebook's own configuration.
        return 2 if parameters and "InvalidArgument" in str(failure) else 1
    return 0


def train(args: argparse.Namespace) -> int:
    """Train an allocator of steps and power on the table of QoE, or run the study of all algorithms."""
    import torch

    from .allocation import ServiceConfig, study

    if args.study:
        folder = args.folder or DATA.parent / "build" / f"study-{args.profile}"
        output = DATA / "results" if args.profile == "full" else folder
        study.study(folder, args.seeds, study.TRAINING[args.profile], args.jobs or os.cpu_count(), output)
        print(f"written to {output}")
        return 0
    if args.algorithm not in study.STUDIED:
        raise InvalidArgument("--algorithm", args.algorithm, f"one of {', '.join(study.STUDIED)}, or else --study")
    torch.set_num_threads(1)  # these networks are too small to share out
    name = f"{args.algorithm}-{args.users}-users-{args.profile}-{args.seed}"
    folder = args.folder or DATA.parent / "build" / "train" / name
    exam = study.Exam(ServiceConfig(users=args.users), live_states=4)
    print(study.run(args.algorithm, args.seed, exam, study.TRAINING[args.profile], folder).to_string())
    print(f"written to {folder}")
    return 0


def models(args: argparse.Namespace) -> int:
    """Which models are here, and how to get the rest."""
    from huggingface_hub import try_to_load_from_cache

    if args.write_checksums:
        checksums.write()
        print(f"wrote {checksums.CHECKSUMS}")
    changed = checksums.changed()
    for path in _embedded_models():
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        bad = [name for name in changed if name.startswith(f"models/{path.name}/")]
        print(f"{path.name}  embedded, {size / 1e6:.1f} MB, {'CHANGED: ' + ', '.join(bad) if bad else 'checksums agree'}")
    for hub_id, about in EXTERNAL_MODELS.items():
        here = any(isinstance(try_to_load_from_cache(hub_id, name), str) for name in ("model_index.json", "config.json"))
        print(f"{hub_id}  external, {about}, {'downloaded' if here else f'not here; get it with: hf download {hub_id}'}")
    print("Any other Stable-Diffusion-type pipeline, and any image-text-to-text model, works by its hub id or folder.")
    return 1 if changed else 0


def _embedded_models() -> list:
    return sorted(path for path in (DATA / "models").glob("*") if path.is_dir() and any(path.iterdir()))


def _expected_time(name: str, notebook) -> str:
    """Seconds the last run of each profile took here; else what the committed smoke run took where it was made."""
    times = {profile: record["wall_s"] for profile in runs.PROFILES if (record := runs.read_record(name, profile))}
    if not times and "rlli" in notebook.metadata:
        times = {notebook.metadata["rlli"]["profile"]: notebook.metadata["rlli"]["wall_s"]}
    return ", ".join(f"{profile} {seconds:.0f} s" for profile, seconds in times.items()) or "not run yet"


def _assignment(text: str) -> tuple[str, object]:
    """`name=value`, the value a Python literal or else the string as it stands."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlli", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, function) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(command=function)
        return sub

    command("doctor", doctor)
    command("list", list_notebooks)
    sub = command("run", run)
    sub.add_argument("names", nargs="*", metavar="NAME", help="a notebook, such as fig09; see rlli list")
    sub.add_argument("--all", action="store_true", help="every notebook")
    sub.add_argument("-p", "--parameter", action="append", default=[], type=_assignment, metavar="NAME=VALUE")
    sub.add_argument("--profile", choices=runs.PROFILES, default="smoke", help="minutes for all (default), or the full grid")
    sub.add_argument("--force", action="store_true", help="run also what is up to date")
    sub.add_argument("--jobs", type=int, help="notebooks at a time")
    sub.add_argument("--write-back", action="store_true", help="put the executed notebooks into notebooks/")
    sub = command("train", train)
    sub.add_argument("--algorithm", help="g-ddpg, ddpg, or of stable-baselines3 sb3-ddpg, td3, sac")
    sub.add_argument("--study", action="store_true", help="every algorithm, --seeds times each; goes on where it was broken off")
    sub.add_argument("--profile", choices=runs.PROFILES, default="smoke", help="a minute (default), or as long as in the study")
    sub.add_argument("--users", type=int, default=3, help="K of a single training")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--seeds", type=int, default=10, help="of the study")
    sub.add_argument("--jobs", type=int, help="processes of the study")
    sub.add_argument("--folder", type=Path, help="where to write, and to go on from (default: under build/)")
    sub = command("models", models)
    sub.add_argument("--write-checksums", action="store_true", help="record data/ as it is now in data/checksums.txt")
    return parser


if __name__ == "__main__":
    sys.exit(main())
