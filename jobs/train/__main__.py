"""``python -m jobs.train``: trains on a curated folder, goes on where an earlier run of the same output stopped."""

from jobs.launch import run
from jobs.train.config import TrainConfig
from jobs.train.driver import train

if __name__ == "__main__":
    run("train", TrainConfig, train)
