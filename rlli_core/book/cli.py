# PYTHON_ARGCOMPLETE_OK
"""Run the notebooks of this book, see what they measured, and check it against the paper.

Exit status: 0 when the command did its work, 1 when that failed, 2 for a bad argument (with what is allowed).
"""

import argparse
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata

from ..errors import InvalidArgument, RlliError, RunFailed
from ..files import DATA
from . import arguments
from .bench import bench
from .ledger import claims, pages
from .runner import checksums, notebooks, runs, sweeps

# Models that can stand in for the embedded ones: hub id -> size and licence.
EXTERNAL_MODELS = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "4 GB in 16-bit weights, CreativeML Open RAIL-M",
    "llava-hf/llava-1.5-7b-hf": "14 GB in 16-bit weights, Llama 2 Community License; a persona agent",
}


def main(given: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    parser = arguments.parser(__doc__, _COMMANDS)
    args = parser.parse_args(given)
    if "command" not in args:
        parser.print_help(sys.stderr)
        return 2
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
            committed=args.committed,
            write_back=args.write_back,
            jobs=args.jobs,
        )
    except RunFailed as failure:
        print(f"rlli: {failure}", file=sys.stderr)
        # The types are checked before the run; a value out of its range is refused by the notebook's own configuration.
        return 2 if parameters and failure.bad_argument else 1
    return 0


def sweep(args: argparse.Namespace) -> int:
    """Execute one notebook for every combination of some parameters; prints the numbers and writes them as CSV."""
    grid = dict(args.grid)
    if len(grid) < len(args.grid):
        raise InvalidArgument("--grid", [name for name, _ in args.grid], "each parameter once, with all its values")
    try:
        table, written = sweeps.sweep(args.name, grid, args.profile, dict(args.parameter))
    except RunFailed as failure:
        print(f"rlli: {failure}", file=sys.stderr)
        return 2 if failure.bad_argument else 1
    print(table.T.to_string(header=False))
    print(f"written to {written}")
    return 0


def show_claims(args: argparse.Namespace) -> int:
    """What the paper claims, what was measured, and the verdict; exits with 1 where the book has other numbers."""
    ledger = claims.read()
    if args.write:
        # The committed pages show the committed notebooks; the pages of a book that is being built, what it was built from.
        sources = claims.committed() if args.write.resolve() == pages.BOOK else claims.latest(args.profile)
        for path in pages.write(args.write, ledger, sources):
            print(f"wrote {path}")
        return 0
    written, data = pages.read_numbers(args.against), pages.as_json(ledger, claims.latest(args.profile))
    different = pages.differences(written, data)
    if args.json:
        print(json.dumps(data | {"differences": different}, indent=1, ensure_ascii=False))
    else:
        print(pages.as_text(data))
    if different:
        print(f"rlli: not as in {args.against}, beyond {ledger.relative:.0%}:", *different, sep="\n  ", file=sys.stderr)
    return 1 if different else 0


def show_bench(args: argparse.Namespace) -> int:
    """How long an image, a denoising step, a rating and an update of the allocator take on this machine."""
    times = bench()
    for name, seconds in times.items():
        if not args.json:
            print(f"{name.removesuffix('_s').replace('_', ' '):<18} {seconds:.4f} s")
    if args.json:
        print(json.dumps(times, indent=1))
    return 0


def train(args: argparse.Namespace) -> int:
    """Train an allocator of steps and power on the table of QoE, or run the study of all algorithms."""
    import torch

    from ..allocation import ServiceConfig, study

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
    states = study.TEST_STATES if args.profile == "full" else study.TEST_STATES // 4
    exam = study.Exam(ServiceConfig(users=args.users), live_states=4, states=states)
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
    known = [record for profile in runs.PROFILES if (record := runs.read_record(name, profile))]
    known = known or [runs.RunRecord.of(name, notebook)]
    return ", ".join(f"{run.profile} {run.wall_s:.0f} s" for run in known if run.wall_s is not None) or "not run yet"


_COMMANDS = {
    "doctor": doctor,
    "list": list_notebooks,
    "run": run,
    "sweep": sweep,
    "claims": show_claims,
    "bench": show_bench,
    "train": train,
    "models": models,
}


if __name__ == "__main__":
    sys.exit(main())
