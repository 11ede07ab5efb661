"""Footage to latents, and questions about it afterwards.

``python -m jobs.curate --config FILE.toml --set source=s3://bucket/footage output=s3://bucket/curated``
``python -m jobs.curate judge --config FILE.toml ...``: other thresholds on the stored scores, without decoding
``python -m jobs.curate why CLIP_OR_URI --set output=...``: what became of it
``python -m jobs.curate export FOLDER --set output=... [form=folder]``: the kept clips as files, for other tools
``python -m jobs.curate forget CLIP_OR_URI --set output=... checkpoints='["s3://.../run"]'``: takes it out for good

``--limit N`` and ``--sample SHARE`` take some of the footage; ``--dry-run`` says what would be done, what it would cost
and, after ``judge``, which verdicts would change; ``--prune`` removes what the source doesn't hold any more.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import partial

from jobs.curate.ask.export import ExportConfig, export
from jobs.curate.ask.forget import ForgetConfig, forget
from jobs.curate.ask.judge import judge_again
from jobs.curate.ask.why import WhyConfig, why
from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import curate
from jobs.launch import run

_SWITCHES = {"--dry-run": "dry_run", "--prune": "prune"}
_NUMBERS = {"--limit": "limit", "--sample": "sample"}


def as_settings(arguments: Sequence[str]) -> Iterator[str]:
    """Flags as the ``--set`` that each is short for."""
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument in _SWITCHES:
            yield from ("--set", f"{_SWITCHES[argument]}=true")
        elif name in _NUMBERS:
            yield from ("--set", f"{_NUMBERS[name]}={value if equals else next(rest, '')}")
        else:
            yield argument


if __name__ == "__main__":
    match list(as_settings(sys.argv[1:])):
        case ["judge", *rest]:
            run("curate", CurateConfig, judge_again, rest)
        case ["forget", what, *rest] if not what.startswith("-"):
            run("curate", ForgetConfig, partial(forget, what), rest)
        case ["export", into, *rest] if not into.startswith("-"):
            run("curate", ExportConfig, partial(export, into), rest)
        case ["why", what, *rest] if not what.startswith("-"):
            run("curate", WhyConfig, partial(why, what), rest)
        case rest:
            run("curate", CurateConfig, curate, rest)
