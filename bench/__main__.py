"""Runs the benches one after the other, or lists them; each measures in a module of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from bench import copy, read, tick, validate
from bench.forecast import command as forecast
from bench.governor import command as governor

BENCHES: Mapping[str, Callable[[Sequence[str]], int]] = {
    "tick": tick.main,
    "copy": copy.main,
    "validate": validate.main,
    "read": read.main,
    "governor": governor.main,
    "forecast": forecast.main,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run those named, or all; the first failure's exit code is kept."""
    options, rest = _parser().parse_known_args(arguments)
    if options.list:
        for name, run in BENCHES.items():
            sentence = (sys.modules[run.__module__].__doc__ or "").partition("\n")[0]
            sys.stdout.write(f"python -m bench.{name:<9} {sentence}\n")
        return 0
    statuses = [BENCHES[name](rest) for name in options.names or BENCHES]
    return next((status for status in statuses if status), 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog="other options go to every bench"
    )
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="which; all if none")
    parser.add_argument("--list", action="store_true", help="say what there is and run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
