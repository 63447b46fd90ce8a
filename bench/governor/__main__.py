"""Runs the bench of the pacing law as `python -m bench.governor`."""

import sys

from bench.governor.command import main

if __name__ == "__main__":
    sys.exit(main())
