"""`python -m experiments`: the command line. Each command is a module of its own, imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import compare, single, sweep
from experiments.errors import ExperimentError, plain

LATER = {
    "evaluate": "robustness, calibration or part scores of a run's checkpoint",
    "report": "tables and plots of finished runs, beside the paper's figures",
    "figures": "the paper's Figures 1, 3, 4 and 6 from real samples, as pictures and one page",
    "prepare": "make ModelNet's archive from its public releases",
    "cards": "draw the pictures of the method cards",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code, 2 for what the user can put right."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="python -m experiments", description="Experiments with mixkit on real data.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in single.COMMANDS.items():
        runner = commands.add_parser(name, help=about.summary)
        single.add_arguments(name)(runner)
        runner.set_defaults(main=single.main)
    for name, command in {"compare": compare, "sweep": sweep}.items():
        one = commands.add_parser(name, help=command.SUMMARY)
        command.add_arguments(one)
        one.set_defaults(main=command.main)
    for name, summary in LATER.items():  # these import what is heavy
        one = commands.add_parser(name, help=summary)
        if arguments[:1] == [name]:
            module = importlib.import_module(f"experiments.{name}")
            module.add_arguments(one)
            one.set_defaults(main=module.main)

    benchmarks = _benchmarks()
    bench = commands.add_parser("bench", help=f"measure speed: {', '.join(benchmarks) or 'none here'}")
    bench.description = f"Benchmarks: {', '.join(benchmarks) or 'none here'}. Each has a --help of its own."
    names = bench.add_subparsers(dest="benchmark", required=True, metavar="NAME")
    for name in benchmarks:
        one = names.add_parser(name)
        if arguments[:2] == ["bench", name]:
            module = importlib.import_module(f"experiments.bench.{name}")
            one.description = module.__doc__
            module.add_arguments(one)
            one.set_defaults(main=module.main)

    args = parser.parse_args(arguments)
    try:
        return int(args.main(args))
    except ExperimentError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was saved is kept", file=sys.stderr)
        return 130


def _benchmarks() -> list[str]:
    """The benchmarks in experiments/bench: modules with add_arguments and main; none is imported to find out."""
    modules = (Path(__file__).parent / "bench").glob("*.py")
    return sorted(path.stem for path in modules if "\ndef add_arguments(" in path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
