"""``python -m jobs.plan cost --footage 10000h --model 1.3b --steps 200000``: hours, days, money, and their rates."""

import argparse
import sys
from pathlib import Path

from jobs.plan.cost import Ask, estimate
from jobs.plan.rates import MODELS, load_rates
from jobs.plan.table import table
from sora_core.errors import InputError


def main(argv: list[str]) -> int:
    """Exit 0, or 2 for what makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m jobs.plan", description=__doc__)
    cost = parser.add_subparsers(dest="command", required=True).add_parser("cost", help="of curation, training, videos")
    cost.add_argument("--footage", type=_hours, default=0.0, metavar="HOURS", help="10000h: raw footage to curate")
    cost.add_argument("--model", choices=sorted(MODELS), default="1.3b")
    cost.add_argument("--steps", type=int, default=0, help="of training")
    cost.add_argument("--pack-tokens", type=int, default=65_536, help="of a GPU and step")
    cost.add_argument("--size", type=_size, default=(480, 832), metavar="HEIGHTxWIDTH")
    cost.add_argument("--frames", type=int, default=81, help="of a video")
    cost.add_argument("--fps", type=float, default=16.0)
    cost.add_argument("--videos", type=int, default=1000, help="that are made")
    cost.add_argument("--sampling-steps", type=int, default=50)
    cost.add_argument("--gpu", default="h100", help="a name of the rates file")
    cost.add_argument("--gpus", type=int, default=8)
    cost.add_argument("--cores", type=int, default=64, help="CPU cores of curation")
    cost.add_argument("--gpu-price", type=float, help="of a GPU hour, in any money; without it no money is told")
    cost.add_argument("--core-price", type=float, default=0.0, help="of a core hour")
    cost.add_argument("--rates", type=Path, help="another file of rates than jobs/configs/plan.toml")
    options = vars(parser.parse_args(argv))
    options.pop("command")
    try:
        rates = load_rates(options.pop("rates"))
        sys.stdout.write(table(estimate(Ask(**options), rates)))
    except InputError as error:
        sys.stderr.write(f"jobs.plan: {error}\n")
        return 2
    return 0


def _hours(text: str) -> float:
    """Of ``10000h`` or ``10000``."""
    return float(text.removesuffix("h"))


def _size(text: str) -> tuple[int, int]:
    """Height and width of ``480x832``."""
    height, _, width = text.partition("x")
    return int(height), int(width)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
