"""`python3 dev.py fuzz [--seed N] [--examples N] [--stack sqlite|postgresql]`: exit code 1 when something was found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.stacks import STACKS, servers
from tests.fuzz.run import fuzz
from tests.story.house import House


def main(arguments: Sequence[str]) -> int:
    """Fuzz a stack of its own, and print what the fuzzer says."""
    parser = argparse.ArgumentParser(prog="dev.py fuzz", description="Ask the API what nobody meant to ask.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--examples", type=int, default=50, help="an operation; it takes some seconds for each"
    )
    parser.add_argument("--stack", choices=STACKS, default="sqlite")
    given = parser.parse_args(arguments)
    with servers(given.stack) as found:
        house = House(found)
        try:
            house.start()
            done = fuzz(house, given.seed, given.examples)
            print(done.stdout, done.stderr, sep="\n")
            if done.returncode:
                print((house.den.folder / "log").read_text(errors="replace")[-20_000:], file=sys.stderr)
        finally:
            house.clear()
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
