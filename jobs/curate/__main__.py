"""Footage to latents, and questions about it afterwards.

``python -m jobs.curate --config FILE.toml --set source=s3://bucket/footage output=s3://bucket/curated``
``python -m jobs.curate judge [--dry-run] --config FILE.toml ...``: other thresholds on the stored scores
``python -m jobs.curate why CLIP_OR_URI --set output=...``: what became of it
"""

import sys
from functools import partial

from jobs.curate.ask.judge import judge_again
from jobs.curate.ask.why import WhyConfig, why
from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import curate
from jobs.launch import run

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["judge", *rest]:
            run("curate", CurateConfig, judge_again, rest)
        case ["why", what, *rest] if not what.startswith("-"):
            run("curate", WhyConfig, partial(why, what), rest)
        case rest:
            run("curate", CurateConfig, curate, rest)
