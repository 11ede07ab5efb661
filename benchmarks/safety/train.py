"""Fits the text gate's classifier to the prompts for tuning, and tells by cross-validation what it finds.

python -m benchmarks.safety.train [--write]: seconds of one core. Told so, it writes the weights that ship.
"""

import argparse
from collections.abc import Sequence
from importlib import resources

import numpy as np
from safetensors.numpy import save_file

from benchmarks.safety.prompts import TUNE, prompts
from sora_core.safety.gate.sentences import Sentences
from sora_core.safety.gate.spelling import undisguised
from sora_core.safety.gate.verdict import CATEGORIES
from sora_core.safety.gate.words import WEIGHTS

_DECAY, _DECAY_OF_CATEGORIES = 0.1, 0.5
_FOLDS = 10


def fit(vectors: np.ndarray, labels: np.ndarray, decay: float, steps: int = 20) -> np.ndarray:
    """Weights and bias of a logistic regression, by Newton's method."""
    inputs = np.c_[vectors, np.ones(len(vectors))]
    decays = np.append(np.full(vectors.shape[1], decay), 1e-4)
    weights = np.zeros(inputs.shape[1])
    for _ in range(steps):
        likely = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (likely - labels) + decays * weights
        curve = (inputs * (likely * (1 - likely))[:, None]).T @ inputs + np.diag(decays)
        weights -= np.linalg.solve(curve, slope)
    return weights


def cross_validated(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The likelihood of each by a fit to the others' folds."""
    order, likely = np.random.default_rng(0).permutation(len(vectors)), np.zeros(len(vectors))
    for fold in range(_FOLDS):
        held = order[fold::_FOLDS]
        kept = np.setdiff1d(order, held)
        weights = fit(vectors[kept], labels[kept], _DECAY, steps=8)
        likely[held] = 1 / (1 + np.exp(-(np.c_[vectors[held], np.ones(len(held))] @ weights)))
    return likely


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the weights into the package")
    asked = parser.parse_args(arguments)
    english = [one for one in prompts(TUNE) if one.is_english]
    vectors = np.array([Sentences.load().vector(undisguised(one.text)) for one in english], np.float64)
    refused = np.array([not one.is_benign for one in english])
    likely = cross_validated(vectors, refused.astype(float))
    print("threshold  recall  false positives   (English, tuning half, tenfold)")
    for threshold in (0.4, 0.5, 0.6, 0.7, 0.75, 0.8):
        found = likely >= threshold
        print(f"{threshold:9.2f}  {found[refused].mean():6.2f}  {found[~refused].mean():15.3f}")
    if asked.write:
        names = [one.label for one in english]
        each = [
            fit(vectors, np.array([name == other for other in names], float), _DECAY_OF_CATEGORIES)
            for name in CATEGORIES
        ]
        weights = {"refuse": fit(vectors, refused.astype(float), _DECAY), "categories": np.array(each)}
        place = resources.files("sora_core.safety.gate") / WEIGHTS
        save_file({name: value.astype(np.float32) for name, value in weights.items()}, str(place))


if __name__ == "__main__":
    main()
