"""``python -m jobs.evaluate``"""

from jobs.evaluate.config import EvaluateConfig
from jobs.evaluate.evaluate import evaluate
from jobs.launch import run

if __name__ == "__main__":
    run("evaluate", EvaluateConfig, evaluate)
