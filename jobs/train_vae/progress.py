"""How far the steps of a phase are."""

from jobs.progress import Line, Pace, spoken


class Progress:
    """Counts steps of ``total``, of which ``done`` were taken before."""

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self.what = what
        self.total = total
        self.step = done
        self._line, self._pace = Line(), Pace(total)
        self._pace.at(done)

    def tick(self, loss: float) -> None:
        """One more step is done."""
        self.step += 1
        self._pace.at(self.step)
        said = f"{self.what}: step {self.step}/{self.total}  loss {loss:.4f}"
        if self.step == self.total:
            self._line.end(said)
        else:
            self._line.show(f"{said}  {spoken(self._pace.left_s)}")
