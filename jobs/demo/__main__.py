"""``python -m jobs.demo``: footage on S3 to an mp4 over HTTP, every part real, on this machine alone."""

from jobs.demo.chain import demo
from jobs.demo.config import DemoConfig
from jobs.launch import run

if __name__ == "__main__":
    run("demo", DemoConfig, demo)
