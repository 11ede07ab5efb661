"""python -m jobs.train_vae --config FILE.toml [--set key=value ...]"""

from jobs.launch import run
from jobs.train_vae.config import TrainVaeConfig
from jobs.train_vae.train import train_vae

if __name__ == "__main__":
    run("train_vae", TrainVaeConfig, train_vae)
