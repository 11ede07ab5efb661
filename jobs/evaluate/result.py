"""The measured table: as text for people, as JSON for programs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from jobs.evaluate.sampling import Answer, Question
from jobs.evaluate.statistics import Proportion, proportions
from sora_core.world.scene import VOCABULARY

ATTRIBUTES = tuple(VOCABULARY)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """All answers to the same questions: by the prompt, without text, and by the truth through the codec."""

    checkpoint: str
    step: int
    questions: Sequence[Question]
    prompted: Sequence[Answer]
    blind: Sequence[Answer]
    codec: Sequence[Answer]

    def accuracy(self) -> dict[str, Proportion]:
        return proportions([answer.hits for answer in self.prompted], ATTRIBUTES)

    def majority(self) -> dict[str, float]:
        """Attribute -> how often the best constant answer to these very prompts is right: what knowing no word gets."""
        asked = {name: Counter(self._truths(name)) for name in ATTRIBUTES}
        return {name: max(counts.values()) / counts.total() for name, counts in asked.items() if counts}

    def confusion(self, name: str) -> dict[str, dict[str, int]]:
        """What was asked -> what was read, with how often; "?" is what can't be told."""
        table: dict[str, Counter[str]] = {}
        for question, answer in zip(self.questions, self.prompted, strict=True):
            truth, found = getattr(question.scene.attributes, name), getattr(answer.reading, name)
            if truth is not None:
                table.setdefault(str(truth), Counter())["?" if found is None else str(found)] += 1
        known = [str(value) for value in VOCABULARY[name]]
        return {truth: dict(table[truth].most_common()) for truth in known if truth in table}

    def _truths(self, name: str) -> Iterator[object]:
        values = (getattr(question.scene.attributes, name) for question in self.questions)
        return (value for value in values if value is not None)

    def columns(self) -> dict[str, dict[str, Proportion]]:
        """Title -> attribute -> hits, for every column of the table beside the accuracy itself."""
        pairs = list(zip(self.questions, self.prompted, strict=True))
        columns = {
            "seen": [answer.hits for question, answer in pairs if not question.unseen],
            "unseen": [answer.hits for question, answer in pairs if question.unseen],
            "no text": [answer.hits for answer in self.blind],
            "codec": [answer.hits for answer in self.codec],
        }
        shapes = sorted({str(question.scene.size) for question in self.questions})
        if len(shapes) > 1:
            for shape in shapes:
                columns[shape] = [answer.hits for question, answer in pairs if str(question.scene.size) == shape]
        return {title: proportions(scores, ATTRIBUTES) for title, scores in columns.items() if scores}

    def looks(self) -> dict[str, dict[str, float]]:
        """``whole``, the share of clips whose object no edge cuts off, and the mean ``speckle``: of the model's clips,
        and of the truth through the autoencoder."""
        found: dict[str, dict[str, float]] = {}
        for title, answers in (("model", self.prompted), ("codec", self.codec)):
            if not answers:
                continue
            found.setdefault("whole", {})[title] = fmean(answer.whole for answer in answers)
            found.setdefault("speckle", {})[title] = fmean(answer.speckle for answer in answers)
        return found

    def missed(self, gates: dict[str, float]) -> list[str]:
        """A sentence for each gate that isn't reached, also when nothing was asked that could."""
        accuracy = self.accuracy()
        return [
            f"{name} {accuracy[name].value:.2f} < {least}" if name in accuracy else f"{name}: no prompt asks for it"
            for name, least in gates.items()
            if name not in accuracy or accuracy[name].value < least
        ]

    def table(self) -> str:
        """A row an attribute: accuracy, its 95 % interval, the best constant answer, every column; then the looks."""
        columns, majority = self.columns(), self.majority()
        lines = [["attribute", "right", "95 %", "constant", *columns]]
        for name, part in self.accuracy().items():
            low, high = part.interval
            cells = [f"{column[name].value:.2f}" if name in column else "-" for column in columns.values()]
            lines.append([name, f"{part.value:.2f}", f"{low:.2f}-{high:.2f}", f"{majority[name]:.2f}", *cells])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        for name, values in self.looks().items():
            ceiling = f" (the autoencoder's own {values['codec']:.2f})" if "codec" in values else ""
            rows.append(f"{name} {values['model']:.2f}{ceiling}")
        return "\n".join(rows)

    def to_json(self) -> dict[str, Any]:
        columns, majority = self.columns(), self.majority()
        return {
            "checkpoint": self.checkpoint,
            "step": self.step,
            "num_prompts": len(self.questions),
            "attributes": {
                name: _numbers(part)
                | {"majority": majority[name], "confusion": self.confusion(name)}
                | {title.replace(" ", "_"): _numbers(parts[name]) for title, parts in columns.items() if name in parts}
                for name, part in self.accuracy().items()
            },
            "looks": self.looks(),
            "prompts": [
                {
                    "prompt": question.prompt,
                    "shape": str(question.scene.size),
                    "unseen": question.unseen,
                    "read": asdict(answer.reading),
                    "hits": answer.hits,
                }
                for question, answer in zip(self.questions, self.prompted, strict=True)
            ],
        }


def _numbers(part: Proportion) -> dict[str, Any]:
    return {"value": part.value, "trials": part.trials, "interval": part.interval}
