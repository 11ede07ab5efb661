"""An estimate as people read it."""

from jobs.plan.cost import Estimate, Line


def table(estimate: Estimate) -> str:
    """Aligned columns, then what they were counted with."""
    ask = estimate.ask
    size = f"{ask.size[0]}x{ask.size[1]}, {ask.frames} frames of {ask.fps:g} a second"
    where = f"days on {ask.cores} cores, {ask.gpus} {ask.gpu}"
    rows = [("", "hours", "of", where, "money"), *map(_row, estimate.lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(_cell(row, column, widths) for column in range(len(row))).rstrip() for row in rows]
    used = dict.fromkeys(name for line in estimate.lines for name in line.rates)
    known = [f"  {name} {estimate.rates[name]:g}, {_origin(estimate, name)}" for name in used]
    head = f"{ask.model} at {size}: {ask.video_tokens:,} tokens a video"
    return "\n".join([head, "", *lines, "", *estimate.notes, "", "counted with:", *known, ""])


def _origin(estimate: Estimate, name: str) -> str:
    rate = estimate.rates.rates[name]
    return f"{rate.known} ({rate.by})"


def _row(line: Line) -> tuple[str, str, str, str, str]:
    money = "" if line.money is None else f"{line.money:,.0f}"
    return line.what, f"{line.hours:,.1f}", line.unit, f"{line.days:,.2f}", money


def _cell(row: tuple[str, ...], column: int, widths: list[int]) -> str:
    return row[column].ljust(widths[column]) if column in (0, 2) else row[column].rjust(widths[column])
