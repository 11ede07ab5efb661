"""``python -m jobs.curate --config FILE.toml --set source=s3://bucket/footage output=s3://bucket/curated``."""

from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import curate
from jobs.launch import run

if __name__ == "__main__":
    run("curate", CurateConfig, curate)
