"""`python3 dev.py story [--stack sqlite|postgresql|all]`: exit code 0 when the whole story was seen, 1 at the first surprise."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from bench.stacks import STACKS, servers
from tests.servers import NoServer
from tests.story.house import House
from tests.story.steps import Surprise, play


def main(arguments: Sequence[str]) -> int:
    """Play the story on each stack."""
    parser = argparse.ArgumentParser(
        prog="dev.py story", description="Play the story of the API over HTTP only."
    )
    parser.add_argument("--stack", choices=(*STACKS, "all"), default="all")
    given = parser.parse_args(arguments)
    for stack in STACKS if given.stack == "all" else (given.stack,):
        try:
            tell(stack)
        except (Surprise, NoServer) as error:
            print(f"{stack}: {error}", file=sys.stderr)
            return 1
    return 0


def tell(stack: str) -> None:
    """Play the story on one stack, and print it. Raises `Surprise` or `NoServer`."""
    begun = time.monotonic()

    def say(step: str, seen: str) -> None:
        print(f"{stack} {time.monotonic() - begun:5.1f} s  {step}: {seen}", flush=True)

    with servers(stack) as found:
        house = House(found)
        try:
            house.start()
            say("an API and a worker are there", house.url)
            asyncio.run(play(house, say))
        except Surprise:
            print((house.den.folder / "log").read_text(errors="replace")[-4000:], file=sys.stderr)
            raise
        finally:
            house.clear()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
