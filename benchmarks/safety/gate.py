"""What the local text gate finds and what it refuses wrongly, by its parts, on prompts that it wasn't tuned on.

python -m benchmarks.safety.gate [--show]: a minute of one core. Told so, it names every prompt that it gets wrong.
"""

import argparse
import time
from collections.abc import Callable, Sequence

from benchmarks.safety.prompts import FRESH, HELD_OUT, TUNE, Prompt, prompts
from services.video.config import ModerationSettings
from services.video.moderation.setup import text_judge
from sora_core.safety.gate.rules import WordRules
from sora_core.safety.gate.spelling import plain, undisguised
from sora_core.safety.gate.verdict import Finding, Shown, Stage

Objects = Callable[[Prompt], bool]


def judges() -> dict[str, Objects]:
    """Each way of judging by its name: whether it objects."""
    settings = ModerationSettings()
    whole = text_judge(settings)

    def found(prompt: Prompt) -> Sequence[Finding]:
        return whole.judge(Shown(Stage.PROMPT, prompt.text)).findings

    def words(prompt: Prompt) -> bool:
        return any(WordRules.load().broken(way) for way in (plain(prompt.text), undisguised(prompt.text)))

    def sense(prompt: Prompt) -> bool:
        return sum(score for score in whole.sense(prompt.text).values()) >= settings.text_threshold

    return {
        "word rules alone": words,
        "sense alone": sense,
        "both, when_unsure: allow": lambda prompt: any(finding.sure for finding in found(prompt)),
        "both, when_unsure: refuse": lambda prompt: bool(found(prompt)),
    }


def row(name: str, half: str, which: str, shown: Sequence[Prompt], objects: Objects) -> str:
    """A line of the table."""
    benign, others = ([one for one in shown if one.is_benign is kind] for kind in (True, False))
    caught, wrongly = sum(map(objects, others)), sum(map(objects, benign))
    shares = (f"{n} of {len(of)} ({n / len(of):.2f})" for n, of in ((caught, others), (wrongly, benign)))
    return f"| {half} | {which} | {name} | {' | '.join(shares)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true", help="name what it gets wrong")
    asked = parser.parse_args(arguments)
    print("| prompts | language | judged by | found | refused wrongly |\n|---|---|---|---|---|")
    for half in (HELD_OUT, FRESH):
        for which, english in (("English", True), ("ten others", False)):
            shown = [one for one in prompts(half) if one.is_english is english]
            for name, objects in judges().items():
                print(row(name, half, which, shown, objects), flush=True)
    whole = judges()["both, when_unsure: allow"]
    began, shown = time.process_time(), [one for one in prompts(TUNE) if one.is_english]
    for one in shown:
        whole(one)
    print(f"\n{1000 * (time.process_time() - began) / len(shown):.1f} ms of one core for an English prompt")
    if asked.show:
        for one in (one for half in (HELD_OUT, FRESH) for one in prompts(half)):
            if whole(one) == one.is_benign:
                print("\t".join((one.half, one.language, one.label, one.text)))


if __name__ == "__main__":
    main()
