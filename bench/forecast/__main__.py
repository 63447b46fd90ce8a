"""Runs the bench of forecasts as `python -m bench.forecast`."""

import sys

from bench.forecast.command import main

if __name__ == "__main__":
    sys.exit(main())
