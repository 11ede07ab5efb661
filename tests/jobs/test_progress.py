"""A job's line: in place on a terminal, seldom in a log; and a time left that can be believed."""

import io

from jobs.curate.progress import Amount, Costs
from jobs.progress import LOG_EVERY_S, Line, Pace, spoken


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def tell(stream: io.StringIO, texts: list[str], every_s: float = 1.0) -> str:
    clock = Clock()
    line = Line(stream, clock)
    for text in texts:
        clock.now += every_s
        line.show(text)
    line.end(texts[-1])
    return stream.getvalue()


def test_a_log_hears_of_changes_alone_and_at_most_every_ten_seconds() -> None:
    counted = [f"{number} of 60" for number in range(60)]
    told = tell(io.StringIO(), counted).splitlines()
    assert told == [counted[second] for second in (9, 19, 29, 39, 49, 59)]
    assert tell(io.StringIO(), ["waiting"] * 60) == "waiting\n"


def test_a_terminal_has_one_line_that_is_drawn_anew() -> None:
    told = tell(Terminal(), ["1 of 3", "2 of 3", "2 of 3", "3 of 3"])
    assert told == "".join(f"\r\033[K{number} of 3" for number in (1, 2, 3, 3)) + "\n"
    assert len(tell(Terminal(), [str(number) for number in range(100)], every_s=0.01).split("\r")) < 10


def test_no_time_is_told_from_the_first_seconds_and_then_one_that_holds() -> None:
    """Half a minute to start, then a unit a second; at the end of it half as fast."""
    clock = Clock()
    pace = Pace(300, clock)
    pace.at(0)
    clock.now += 30
    for done in range(1, 11):
        pace.at(done)
        assert pace.left_s is None, done
        clock.now += 1
    for done in range(11, 200):
        pace.at(done)
        clock.now += 1
    assert pace.left_s is not None
    assert abs(pace.left_s - 100) < 3
    for done in range(200, 280):
        pace.at(done)
        clock.now += 2
    assert abs(pace.left_s - 40) < 4, "by the last minutes, not by the whole run"
    at_rest = pace.left_s
    clock.now += 10
    assert abs(at_rest - 10 - pace.left_s) < 1e-6


def test_a_time_has_no_more_digits_than_are_known() -> None:
    told = [spoken(left_s) for left_s in (None, 0, 41, 300, 24_934)]
    assert told == ["time left not known yet", "0 s left", "45 s left", "5 min left", "6.9 h left"]


def test_ten_seconds_are_what_a_log_can_bear() -> None:
    assert LOG_EVERY_S >= 10


def test_curation_knows_a_film_from_a_still() -> None:
    """Films first, a second a megabyte, then many stills of a tenth of a second: a rate of objects would say hours."""
    costs, now = Costs(), 0.0
    total = Amount(1030, 30 * 2_000_000 + 1000 * 5_000)
    for number in range(80):
        size_bytes, busy_s = (2_000_000, 2.1) if number < 30 else (5_000, 0.105)
        now += busy_s / 2  # two actors
        costs.add(Amount(1, size_bytes, busy_s), now)
        if number < 19:
            assert costs.left_s(total, now) is None
    left_s = costs.left_s(total, now)
    assert left_s is not None
    assert abs(left_s - 950 * 0.105 / 2) < 8


def test_costs_are_never_below_nothing() -> None:
    """Not even when the larger of two files was the quicker one, or all are alike."""
    for sizes in ((1000, 5000), (1000, 1000), (0, 0)):
        costs = Costs()
        for number in range(40):
            now = float(number + 1)
            costs.add(Amount(1, sizes[number % 2], 1.0 - 0.5 * (number % 2)), now)
        left_s = costs.left_s(Amount(50, 50 * sizes[0]), 40.0)
        assert left_s is not None
        assert 5 < left_s < 15, sizes
