"""The options of the command line `rlli`: what each command takes, examples, and tab completion."""

import argparse
import ast
from collections.abc import Callable, Mapping
from pathlib import Path

from .ledger import pages
from .runner import notebooks, runs

_FIRST_STEPS = """first steps:
  rlli doctor                            # is everything here that the book needs?
  rlli list                              # notebooks, their parameters and run times
  rlli run fig09 -p seeds=4              # run one of them with another number of seeds
  rlli sweep fig09 -g bep=0.01,0.03,0.1  # run it for several bit error probabilities
  rlli claims                            # what the paper claims and what comes out here
"""


def _assignment(text: str) -> tuple[str, object]:
    """`name=value`, the value a Python literal or else the string as it stands."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _grid(text: str) -> tuple[str, list]:
    """`name=value,value,...`; a value that is itself a list stands in brackets."""
    name, values = _assignment(text)
    if isinstance(values, tuple):
        return name, list(values)
    return name, values.split(",") if isinstance(values, str) else [values]


def _complete(parser: argparse.ArgumentParser) -> None:
    """Tab completion, where argcomplete is installed."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser)


def _notebook_names(**_) -> list[str]:
    return notebooks.names()


def _parameter_names(parsed_args: argparse.Namespace, **_) -> list[str]:
    """`name=` of every parameter of the notebooks that stand on the line so far."""
    given = getattr(parsed_args, "names", None) or [getattr(parsed_args, "name", None)]
    wanted = [name for name in given if name] or notebooks.names()
    known = [notebooks.parameters_of(runs.read(notebooks.find(name))) for name in wanted]
    return sorted({f"{name}=" for parameters in known for name in parameters})


def parser(about: str, commands: Mapping[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """The parser of all `commands`, name: function; a function's docstring says what it does."""
    raw = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(prog="rlli", description=about, formatter_class=raw, epilog=_FIRST_STEPS)
    adder = whole.add_subparsers(metavar="command", title="commands (rlli COMMAND --help says more)")

    def command(name: str, example: str = "") -> argparse.ArgumentParser:
        does, epilog = commands[name].__doc__, f"example:\n  {example or f'rlli {name}'}"
        sub = adder.add_parser(name, help=does, description=does, formatter_class=raw, epilog=epilog)
        sub.set_defaults(command=commands[name])
        return sub

    def add_run_options(sub: argparse.ArgumentParser) -> None:
        profile = "smoke: minutes for all (default); full: more seeds"
        sub.add_argument("--profile", choices=runs.PROFILES, default="smoke", help=profile)
        given = sub.add_argument(
            "-p", "--parameter", action="append", default=[], type=_assignment, metavar="NAME=VALUE",
            help="a value in place of the notebook's own; may be repeated, rlli list shows the names",
        )  # fmt: skip
        given.completer = _parameter_names

    command("doctor")
    command("list")
    sub = command("run", "rlli run fig09 -p seeds=4        # the result: build/runs/smoke/fig09_steps.ipynb")
    names = sub.add_argument("names", nargs="*", metavar="NAME", help="a notebook, such as fig09; see rlli list")
    names.completer = _notebook_names
    sub.add_argument("--all", action="store_true", help="every notebook")
    add_run_options(sub)
    sub.add_argument("--jobs", type=int, help="notebooks at a time (default: one a core, 4 at most)")
    sub.add_argument("--force", action="store_true", help="run also what is up to date")
    as_it_is = "take a committed notebook as it is where it was executed with the present inputs and has its panels' frames"
    sub.add_argument("--committed", action="store_true", help=as_it_is)
    sub.add_argument("--write-back", action="store_true", help="put the executed notebooks into notebooks/")
    lists = "rlli sweep fig08 -g bep=[0.01],[0.01,0.1] -p seeds=3   # a value that is a list stands in brackets"
    sub = command("sweep", f"rlli sweep fig09 -g bep=0.01,0.03,0.1\n  {lists}")
    name = sub.add_argument("name", metavar="NAME", help="a notebook, such as fig09; see rlli list")
    name.completer = _notebook_names
    grid = sub.add_argument(
        "-g", "--grid", action="append", required=True, type=_grid, metavar="NAME=VALUE,VALUE,...",
        help="values of a parameter; repeated, every combination is run. What is done is not run again",
    )  # fmt: skip
    grid.completer = _parameter_names
    add_run_options(sub)
    sub = command("claims", "rlli claims --profile full")
    whose = "whose latest runs count; where there is none, the committed notebook does (default: smoke)"
    sub.add_argument("--profile", choices=runs.PROFILES, default="smoke", help=whose)
    sub.add_argument("--json", action="store_true", help="the whole ledger with checks, limits, seeds and verdicts")
    against = "compare with these numbers (default: book/claims.json; after make book, build/site/book/claims.json)"
    sub.add_argument("--against", type=Path, metavar="FILE", default=pages.BOOK / pages.NUMBERS, help=against)
    sub.add_argument(
        "--write", nargs="?", type=Path, const=pages.BOOK, metavar="FOLDER",
        help="write claims.json, claims.md, figure_map.md, figure_list.md and status.md: without FOLDER those in book/, from the committed notebooks; "
        "with it those there, from the latest runs",
    )  # fmt: skip
    command("bench").add_argument("--json", action="store_true", help="seconds as JSON")
    sub = command("train", "rlli train --algorithm g-ddpg")
    sub.add_argument("--algorithm", help="g-ddpg, ddpg, or of stable-baselines3 sb3-ddpg, td3, sac")
    sub.add_argument("--study", action="store_true", help="every algorithm, --seeds times each; goes on where it stopped")
    sub.add_argument("--profile", choices=runs.PROFILES, default="smoke", help="a minute (default), or as long as in the study")
    sub.add_argument("--users", type=int, default=3, help="number of users K of a single training (default: 3)")
    sub.add_argument("--seed", type=int, default=0, help="of a single training (default: 0)")
    sub.add_argument("--seeds", type=int, default=10, help="of the study (default: 10)")
    sub.add_argument("--jobs", type=int, help="processes of the study")
    sub.add_argument("--folder", type=Path, help="where to write, and to go on from (default: under build/)")
    sub = command("models")
    sub.add_argument("--write-checksums", action="store_true", help="record data/ as it is now in data/checksums.txt")
    _complete(whole)
    return whole
