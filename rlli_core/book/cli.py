"""Run the notebooks of this book, see what they measured, and check it against the paper.

Exit status: 0 when the command did its work, 1 when that failed, 2 for a bad argument (with what is allowed).
"""

import ast
import io
import json
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import typer
from typer import Argument, Option
from typer.core import TyperGroup
from typer.exceptions import TyperException

from ..errors import InvalidArgument, RlliError, RunFailed, check_integer, check_seed, first_line
from ..files import DATA, check_writable
from ..processes import check_jobs
from . import machine, people, serving

# What is slow to import, each command imports itself, so that help and tab completion answer at once.

INTERRUPTED = 130  # as shells have it; typer makes it of Ctrl-C
_debug = False
Profile = Literal["smoke", "full"]
Algorithm = Literal["g-ddpg", "ddpg", "sb3-ddpg", "td3", "sac", "g-ddpg-best", "critic-argmax", "linucb"]
StudyName = Literal["paper", "choice"]

FIRST_STEPS = """\b
first steps:
  rlli doctor                            # is everything here that the book needs?
  rlli list                              # notebooks, their parameters and run times
  rlli run fig09 -p seeds=4              # run one of them with another number of seeds
  rlli sweep fig09 -g bep=0.01,0.03,0.1  # run it for several bit error probabilities
  rlli claims                            # what the paper claims and what comes out here
"""


def example(*lines: str) -> str:
    """The end of a command's help; \\b keeps the lines as they are."""
    return "\n  ".join(["\b\nexample:", *lines])


def notebook_names() -> list[str]:
    """Completions of a notebook's name."""
    from .runner import notebooks

    return notebooks.names() if notebooks.NOTEBOOKS.is_dir() else []


def parameter_names(ctx: typer.Context) -> list[str]:
    """Completions of a parameter: `name=` of every parameter of the notebooks that stand on the line so far."""
    from .runner import notebooks, runs

    given = ctx.params.get("names") or [ctx.params.get("name")]
    wanted = [name for name in given if name] or notebooks.names()
    known = [notebooks.parameters_of(runs.read(notebooks.find(name))) for name in wanted]
    return sorted({f"{name}=" for parameters in known for name in parameters})


def assignment(text: str) -> tuple[str, Any]:
    """`name=value`, the value a Python literal or else the string as it stands."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InvalidArgument("parameter", text, "name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
    except (RecursionError, MemoryError) as error:
        raise InvalidArgument(name, value, "less deeply nested") from error


def grid_of(texts: Sequence[str]) -> dict[str, list]:
    """`name=value,value,...` each; a value that is itself a list stands in brackets."""
    grid = {}
    for name, values in map(assignment, texts):
        if name in grid:
            raise InvalidArgument("--grid", list(texts), "each parameter once, with all its values")
        split = values.split(",") if isinstance(values, str) else [values]
        grid[name] = list(values) if isinstance(values, tuple) else split
    return grid


ProfileOption = Annotated[Profile, Option(help="smoke: minutes for all; full: more seeds.")]
ParameterOption = Annotated[
    list[str] | None,
    Option(
        "-p", "--parameter", metavar="NAME=VALUE", autocompletion=parameter_names,
        help="A value in place of the notebook's own; may be repeated, rlli list shows the names.",
    ),
]  # fmt: skip
JobsOption = Annotated[int | None, Option(help="How many at a time (default: one a core, of notebooks 4 at most).")]
RayOption = Annotated[
    str | None,
    Option(metavar="ADDRESS", help="On Ray: local begins one here; auto or host:port is one that runs and sees these files."),
]
JsonOption = Annotated[bool, Option("--json", help="As JSON.")]


def leave(status: int, **_settings: object) -> None:
    """Exit with the status that a command returned; flushed, so that a reader who left (rlli list | head -1) is noticed here."""
    sys.stdout.flush()
    raise typer.Exit(status)


app = typer.Typer(
    help=__doc__, epilog=FIRST_STEPS, result_callback=leave, no_args_is_help=True, rich_markup_mode=None,
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)  # fmt: skip


def main(given: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    group = cast(TyperGroup, typer.main.get_command(app))
    group.subcommand_metavar = f"{{{'|'.join(group.commands)}}} ..."
    for stream in (sys.stdout, sys.stderr):  # a locale that lacks a letter shows a question mark in its place
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does, its processes with it
    try:
        status = int(group(given, prog_name="rlli", standalone_mode=False) or 0)
        if status == INTERRUPTED:
            print("rlli: interrupted; what was done is kept", file=sys.stderr)
        return status
    except TyperException as wrong:  # an option that is not known, or not one of its values
        context = getattr(wrong, "ctx", None)
        print(*([context.get_usage()] if context else []), f"rlli: {wrong.format_message()}", sep="\n", file=sys.stderr)
        return wrong.exit_code
    except SystemExit as leaving:  # the reader has left, as in rlli list | head -1
        return int(leaving.code or 0)
    except RlliError as error:
        print(f"rlli: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidArgument) else 1
    except Exception as error:
        if _debug:
            raise
        print(f"rlli: {type(error).__name__}: {first_line(error)} (rlli --debug shows where)", file=sys.stderr)
        return 1


@app.callback()
def every_command(debug: Annotated[bool, Option("--debug", help="Show where an unforeseen error comes from.")] = False) -> None:
    """Options of all commands."""
    global _debug
    _debug = debug


app.command("doctor", epilog=example("rlli doctor"))(machine.doctor)


@app.command("list", epilog=example("rlli list"))
def list_notebooks() -> int:
    """Each notebook with its figure, expected run time and parameters."""
    from .runner import notebooks, runs

    for name in notebooks.names():
        notebook = runs.read(notebooks.find(name))
        figure = re.match(r"fig(\d+)", name)
        print(f"{name}  [{f'Fig. {int(figure[1])}' if figure else 'no figure'}; {_expected_time(name, notebook)}]")
        print(f"    {notebooks.title_of(notebook)}")
        for parameter in notebooks.parameters_of(notebook).values():
            print(f"    {parameter.name}: {parameter.kind} = {parameter.value!r}")
    return 0


@app.command("run", epilog=example("rlli run fig09 -p seeds=4        # the result: build/runs/smoke/fig09_steps.ipynb"))
def run_notebooks(
    names: Annotated[
        list[str] | None,
        Argument(metavar="NAME", autocompletion=notebook_names, help="Notebooks, such as fig09; see rlli list."),
    ] = None,
    everything: Annotated[bool, Option("--all", help="Every notebook.")] = False,
    profile: ProfileOption = "smoke",
    parameter: ParameterOption = None,
    jobs: JobsOption = None,
    ray: RayOption = None,
    force: Annotated[bool, Option("--force", help="Run also what is up to date.")] = False,
    committed: Annotated[
        bool, Option("--committed", help="Take a committed notebook as it stands where its inputs are still the same.")
    ] = False,
    write_back: Annotated[bool, Option("--write-back", help="Put the executed notebooks into notebooks/.")] = False,
) -> int:
    """Execute notebooks; results and records go to build/runs/<profile>/."""
    from .runner import notebooks, runs

    if bool(names) == everything:
        raise InvalidArgument("names", names or [], f"one or more of {', '.join(notebooks.names())}, or else --all")
    parameters = dict(map(assignment, parameter or ()))
    if write_back and (parameters or profile != "smoke"):
        raise InvalidArgument("--write-back", True, "used with the smoke profile as it stands: that is what is committed")
    try:
        how: dict[str, Any] = {"force": force, "committed": committed, "write_back": write_back}
        runs.run(names or None, profile, parameters, jobs=jobs, ray=ray, **how)
    except RunFailed as failure:
        print(f"rlli: {failure}", file=sys.stderr)
        # The types are checked before the run; a value out of its range is refused by the notebook's own configuration.
        return 2 if parameters and failure.bad_argument else 1
    return 0


@app.command("reproduce", epilog=example("rlli reproduce               # all notebooks; goes on where it was broken off"))
def reproduce_book(
    names: Annotated[
        list[str] | None, Argument(metavar="NAME", autocompletion=notebook_names, help="Only these notebooks (default: all).")
    ] = None,
    profile: Annotated[
        Profile, Option(help="full has other parameters: its intervals are compared with the committed ones.")
    ] = "smoke",
    jobs: JobsOption = None,
    ray: RayOption = None,
    force: Annotated[bool, Option("--force", help="Run again also what is done here.")] = False,
) -> int:
    """Execute the notebooks afresh, compare every number with the committed one and write a certificate; 1 where one differs."""
    from .ledger import certificate, claims

    content, path = certificate.reproduce(claims.read(), names or None, profile, force=force, jobs=jobs, ray=ray)
    print(*certificate.told(content), sep="\n")
    print(f"written to {path}; to have it on the status page: cp {path} {certificate.KEPT} && rlli claims --write")
    return 0 if certificate.good(content) else 1


@app.command(
    "sweep",
    epilog=example(
        "rlli sweep fig09 -g bep=0.01,0.03,0.1",
        "rlli sweep fig08 -g bep=[0.01],[0.01,0.1] -p seeds=3   # a value that is a list stands in brackets",
    ),
)
def sweep_notebook(
    name: Annotated[str, Argument(metavar="NAME", autocompletion=notebook_names, help="A notebook, such as fig09.")],
    grid: Annotated[
        list[str],
        Option(
            "-g", "--grid", metavar="NAME=VALUE,VALUE,...", autocompletion=parameter_names,
            help="Values of a parameter; repeated, every combination is run. What is done is not run again.",
        ),
    ],
    profile: ProfileOption = "smoke",
    parameter: ParameterOption = None,
    jobs: JobsOption = None,
    ray: RayOption = None,
) -> int:  # fmt: skip
    """Execute one notebook for every combination of some parameters; prints the numbers and writes them as CSV."""
    from .runner import sweeps

    try:
        table, written = sweeps.sweep(name, grid_of(grid), profile, dict(map(assignment, parameter or ())), jobs, ray)
    except RunFailed as failure:
        print(f"rlli: {failure}", file=sys.stderr)
        return 2 if failure.bad_argument else 1
    print(table.T.to_string(header=False))
    print(f"written to {written}")
    return 0


@app.command("claims", epilog=example("rlli claims --profile full"))
def show_claims(
    folder: Annotated[
        Path | None,
        Argument(help="For --write: take the latest runs and the pages there, not the committed notebooks and book/."),
    ] = None,
    profile: Annotated[
        Profile, Option(help="Whose latest runs count; where there is none, the committed notebook does.")
    ] = "smoke",
    as_json: Annotated[bool, Option("--json", help="The whole ledger with checks, limits, seeds and verdicts.")] = False,
    against: Annotated[
        Path | None,
        Option(metavar="FILE", help="Compare with these numbers (default: book/claims.json; after make book, build/claims.json)."),
    ] = None,
    write: Annotated[
        bool, Option("--write", help="Write claims.json, the pages that show it, codecheck.yml, Containerfile and the address.")
    ] = False,
) -> int:  # fmt: skip
    """What the paper claims, what was measured, and the verdict; exits with 1 where the book has other numbers."""
    from .ledger import claims, pages

    ledger, against = claims.read(), against or pages.BOOK / pages.NUMBERS
    if write:
        folder = folder or pages.BOOK
        # The committed pages show the committed notebooks; the pages of a book that is being built, what it was built from.
        sources = claims.committed() if folder.resolve() == pages.BOOK else claims.latest(profile)
        for path in pages.write(folder, ledger, sources):
            print(f"wrote {path}")
        return 0
    if folder:
        raise InvalidArgument("folder", str(folder), "left out, but after --write")
    written, data = pages.read_numbers(against), pages.as_json(ledger, claims.latest(profile))
    different = pages.differences(written, data)
    if as_json:
        print(json.dumps(data | {"differences": different}, indent=1, ensure_ascii=False))
    else:
        print(pages.as_text(data))
    if different:
        print(f"rlli: not as in {against}, beyond {ledger.relative:.0%}:", *different, sep="\n  ", file=sys.stderr)
    return 1 if different else 0


@app.command("bench", epilog=example("rlli bench"))
def show_bench(as_json: JsonOption = False) -> int:
    """How long an image, a denoising step, a rating and an update of the allocator take on this machine."""
    from . import bench

    times = bench.bench()
    if as_json:
        print(json.dumps(times, indent=1))
    else:
        for name, seconds in times.items():
            print(f"{name.removesuffix('_s').replace('_', ' '):<18} {seconds:.4f} s")
    return 0


@app.command("train", epilog=example("rlli train --algorithm g-ddpg"))
def train_allocator(
    algorithm: Annotated[Algorithm | None, Option(help="Train once; sb3-ddpg, td3 and sac are stable-baselines3's.")] = None,
    name: Annotated[StudyName | None, Argument(help="Of the study: paper (default) or choice.", show_default=False)] = None,
    study: Annotated[bool, Option("--study", help="Every algorithm, --seeds times each; goes on where it stopped.")] = False,
    profile: Annotated[Profile, Option(help="A minute, or as long as in the study.")] = "smoke",
    users: Annotated[int, Option(help="Number of users K of a single training, 1 to 8.")] = 3,
    seed: Annotated[int, Option(help="Of a single training.")] = 0,
    seeds: Annotated[int, Option(help="Of the study.")] = 10,
    jobs: JobsOption = None,
    ray: RayOption = None,
    folder: Annotated[Path | None, Option(help="Where to write, and to go on from (default: under build/).")] = None,
) -> int:
    """Train an allocator of steps and power on the table of QoE, or run the study of all algorithms."""
    if study == bool(algorithm):
        raise InvalidArgument("--algorithm", algorithm, f"one of {', '.join(get_args(Algorithm))}, or else --study")
    if name and not study:
        raise InvalidArgument("name", name, "given with --study only")
    check_integer("users", users, 1, 8)
    check_seed("seed", seed)
    check_integer("seeds", seeds, 1, 1000)
    check_jobs(jobs)
    place = f"train/{algorithm}-{users}-users-{profile}-{seed}"
    if study:
        place = f"study-{profile}" if name in (None, "paper") else f"study-{name}-{profile}"
    check_writable(folder := folder or DATA.parent / "build" / place)
    import torch

    from ..allocation import ServiceConfig
    from ..allocation import study as studies

    if algorithm is None:
        output = DATA / "results" if profile == "full" else folder
        studies.study(folder, seeds, profile, jobs, output, ray, name or "paper")
        print(f"written to {output}")
        return 0
    torch.set_num_threads(1)  # these networks are too small to share out
    states = studies.TEST_STATES if profile == "full" else studies.TEST_STATES // 4
    evaluation = studies.Evaluation(ServiceConfig(users=users), live_states=4, states=states)
    print(studies.run(algorithm, seed, evaluation, studies.TRAINING[profile], folder).to_string())
    print(f"written to {folder}")
    return 0


app.command("models", epilog=example("rlli models"))(machine.list_models)
app.command("serve", epilog=example("rlli serve --port 8000"))(serving.serve)
app.command("finish", epilog=example('rlli finish http://127.0.0.1:8000 "a dog in front of a bush"'))(serving.finish)
app.command("people", epilog=example("rlli people answers/   # files of the page rate_yourself"))(people.compare_people)


def _expected_time(name: str, notebook: Any) -> str:
    """Seconds the last run of each profile took here; else what the committed smoke run took where it was made."""
    from .runner import runs

    known = [record for profile in runs.PROFILES if (record := runs.read_record(name, profile))]
    known = known or [runs.RunRecord.of(name, notebook)]
    return ", ".join(f"{run.profile} {run.wall_s:.0f} s" for run in known if run.wall_s is not None) or "not run yet"


if __name__ == "__main__":
    sys.exit(main())
