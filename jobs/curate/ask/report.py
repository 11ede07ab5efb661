"""One HTML file that shows what curation did: funnel, reasons, score histograms, kept and rejected pictures."""

import base64
import html
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jobs.curate.ask.survey import Survey, survey
from jobs.curate.books.account import Account
from jobs.curate.books.parts import Part
from jobs.curate.books.stored import Stored, together
from jobs.curate.config import CurateConfig, Thresholds
from jobs.curate.rows import SCORE_NAMES
from jobs.curate.verdicts import RULES
from sora_core import storage

_PICTURES_PER_VERDICT = 40
_BINS = 40
_WIDTH, _HEIGHT = 300, 110
_UNITS = {
    "sharpness": "share of fine detail in the contrast",
    "luma": "mean, 0 to 255",
    "contrast": "standard deviation of luma",
    "motion": "% of the diagonal a second",
    "frozen": "share of frames equal to the one before",
    "bars": "share of the picture that is black border",
    "shake": "% of the diagonal off the way",
    "blockiness": "share of steps along a codec's grid",
    "quantiser": "of H.264, 0 to 51",
    "duplicated": "share of frames shown twice",
    "text": "share of the picture under words",
    "indecency": "probability",
    "aesthetic": "the model's own",
    "watermark": "the model's own",
}
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--kept:#2a9d8f;--dropped:#e76f51;--failed:#9d4edd}
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse}td,th{padding:.15rem .8rem;text-align:right;border-bottom:1px solid var(--line)}
td:first-child,td:nth-child(2),th:first-child,th:nth-child(2){text-align:left}
.bar{height:1.3rem;display:inline-block;vertical-align:middle;border-radius:3px;min-width:2px}
.kept{background:var(--kept)}.dropped{background:var(--dropped)}.failed{background:var(--failed)}
.gallery{display:flex;flex-wrap:wrap;gap:.6rem}figure{margin:0;width:120px}
figure img{width:120px;height:90px;object-fit:contain;background:#0002;border-radius:4px;image-rendering:auto}
figcaption{font-size:11px;line-height:1.25;overflow-wrap:anywhere;opacity:.8}
.plots{display:flex;flex-wrap:wrap;gap:1.2rem}.plots figure{width:300px}
svg text{font-size:10px;fill:currentColor}.mute{opacity:.7}
"""


def write_report(config: CurateConfig, account: Account, parts: Sequence[Part]) -> None:
    """Leave ``report.html`` under the output; it needs no other file."""
    page = "".join(
        _page(config, account, survey(config.output, parts), [file for part in parts for file in part.stored])
    )
    storage.write_bytes(storage.join(config.output, "report.html"), page.encode())


def _page(config: CurateConfig, account: Account, found: Survey, files: Sequence[Stored]) -> Iterator[str]:
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>Curation</title><style>{_STYLE}</style>"
    yield f"<h1>Curation</h1><p class=mute>{_text(config.source)} &rarr; {_text(config.output)}</p>"
    yield f"<h2>Funnel</h2>{_funnel(account)}<h2>Reasons</h2>{_table(account)}"
    yield f"<h2>Stages</h2>{_stages(account, found, files)}"
    yield "<h2>Scores</h2><p class=mute>Kept above the line, dropped below; dashed: thresholds.</p><div class=plots>"
    yield from (_histogram(name, found, config.thresholds) for name in SCORE_NAMES)
    yield "</div>"
    for status, reason in sorted(found.pictures, key=lambda key: ("kept dropped failed".index(key[0]), key[1])):
        number = account.clips[status, reason]
        yield _gallery(status, reason, number, found.pictures[status, reason].items, config.thresholds)
    yield _duplicates(found)
    yield f"<h2>Objects without a clip</h2>{_objects(found)}</html>"


def _text(value: object) -> str:
    return html.escape(str(value))


def _funnel(account: Account) -> str:
    lines = []
    for title, counts in (("objects", account.sources), ("clips", account.clips)):
        total = max(1, counts.total())
        bars = "".join(
            f'<span class="bar {status}" style="width:{50 * account.num(counts, status) / total:.2f}%" '
            f'title="{account.num(counts, status)} {status}"></span>'
            for status in ("kept", "dropped", "failed")
        )
        numbers = ", ".join(f"{account.num(counts, status)} {status}" for status in ("kept", "dropped", "failed"))
        lines.append(f"<div>{bars} {counts.total()} {title} in = {numbers}</div>")
    return "".join(lines)


def _table(account: Account) -> str:
    keys = sorted({*account.sources, *account.clips}, key=lambda key: ("kept dropped failed".index(key[0]), key[1]))
    rows = "".join(
        f"<tr><td>{status}<td>{_text(reason)}<td>{account.sources[status, reason] or ''}"
        f"<td>{account.clips[status, reason] or ''}"
        for status, reason in keys
    )
    return f"<table><tr><th>status<th>reason<th>objects<th>clips{rows}</table>"


def _stages(account: Account, found: Survey, files: Sequence[Stored]) -> str:
    """What each stage took in, gave and cost, summed over its processes."""
    totals, _ = together(files)
    objects, clips = account.sources.total(), account.clips.total()
    lines = (
        ("examine", f"{objects} objects", found.footage_bytes, f"{clips} clips", None, found.examine_s),
        (
            "encode", f"{totals.clips} clips", None, f"{totals.seconds:.0f} s of latents",
            sum(file.shard.size_bytes for file in files), sum(file.seconds for file in files),
        ),
    )  # fmt: skip
    body = "".join(
        f"<tr><td>{name}<td>{taken}<td>{_mib(taken_bytes)}<td>{given}<td>{_mib(given_bytes)}<td>{seconds:.1f}"
        for name, taken, taken_bytes, given, given_bytes, seconds in lines
    )
    return f"<table><tr><th>stage<th>in<th>MiB in<th>out<th>MiB out<th>process seconds{body}</table>"


def _mib(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 2**20:.1f}"


def _histogram(name: str, found: Survey, thresholds: Thresholds) -> str:
    """Two histograms back to back as SVG, cut at the 99th percentile."""
    kept, others = (np.array(found.values[name, is_kept].items) for is_kept in (True, False))
    values = np.concatenate([kept, others])
    if not len(values):
        return ""
    limits = [limit for key, limit in thresholds.model_dump().items() if key.endswith(f"_{name}")]
    most = max(float(np.percentile(values, 99)), 1e-6)
    edges = np.linspace(0, most, _BINS + 1)
    counts = [np.histogram(np.minimum(part, most), edges)[0] for part in (kept, others)]
    scale = (_HEIGHT / 2 - 8) / max(1, *(int(part.max()) for part in counts))
    step = _WIDTH / _BINS
    bars = "".join(
        f'<rect x="{i * step:.1f}" y="{_HEIGHT / 2 - (number * scale if up else 0):.1f}" width="{step - 1:.1f}" '
        f'height="{number * scale:.1f}" fill="var(--{"kept" if up else "dropped"})"/>'
        for up, part in ((True, counts[0]), (False, counts[1]))
        for i, number in enumerate(part)
        if number
    )
    lines = "".join(
        f'<line x1="{limit / most * _WIDTH:.1f}" x2="{limit / most * _WIDTH:.1f}" y1="0" y2="{_HEIGHT}" '
        'stroke="currentColor" stroke-dasharray="3"/>'
        for limit in limits
        if 0 < limit < most
    )
    base = _HEIGHT + 10
    axis = f'<text x="0" y="{base}">0</text><text x="{_WIDTH}" y="{base}" text-anchor="end">{most:.3g}</text>'
    return (
        f'<figure><b>{name}</b><br><span class=mute>{_UNITS[name]}</span><svg viewBox="0 0 {_WIDTH} {_HEIGHT + 12}" '
        f'width="{_WIDTH}">{bars}{lines}{axis}</svg></figure>'
    )


def _gallery(status: str, reason: str, number: int, rows: Sequence[dict[str, Any]], thresholds: Thresholds) -> str:
    """Clips of one verdict: the worst first where a score decided, else spread over the whole ledger."""
    shown = list(rows)
    limit = RULES.get(reason)
    if limit:
        shown.sort(key=lambda row: row[_score(limit)], reverse=limit.startswith("max"))
    chosen = shown[:: max(1, -(-len(shown) // _PICTURES_PER_VERDICT))]
    title = f"{status.capitalize()}{': ' + reason if reason else ''} ({number} clips)"
    said = f"<p class=mute>{limit} = {getattr(thresholds, limit):g}</p>" if limit else ""
    return f"<h2>{_text(title)}</h2>{said}<div class=gallery>{''.join(_figure(row, limit) for row in chosen)}</div>"


def _figure(row: dict[str, Any], limit: str | None) -> str:
    """A clip with the score that decided, its words, and all scores for who asks."""
    known = {name: f"{name} {row[name]:.3g}" for name in SCORE_NAMES if row[name] is not None}
    decided = f"<b>{known[_score(limit)]}</b><br>" if limit else ""
    return (
        f"<figure>{_picture(row['preview'])}<figcaption>{decided}{_text(storage.name(row['uri']))} "
        f"{row['start_s']:.1f} s<br>{_text(row['caption'] or '')[:80]}"
        f"<details><summary>scores</summary>{'<br>'.join(known.values())}</details></figcaption></figure>"
    )


def _score(limit: str) -> str:
    """The score that a threshold is about."""
    return limit.partition("_")[2]


def _duplicates(found: Survey) -> str:
    """Objects and clips that were left out for an equal or better one, under a picture of that one."""
    if not found.copies:
        return ""
    figures = "".join(
        f"<figure>{_picture(found.originals.get(original, {}).get('preview'))}"
        f"<figcaption>{_text(storage.name(found.originals.get(original, {}).get('uri', original)))}<br>= "
        f"{'<br>= '.join(_text(storage.name(uri)) for uri in sorted(same))}</figcaption></figure>"
        for original, same in found.copies.items()
    )
    return f"<h2>Duplicates ({found.num_copies} objects and clips are some)</h2><div class=gallery>{figures}</div>"


def _picture(webp: bytes | None) -> str:
    return f'<img alt="" src="data:image/webp;base64,{base64.b64encode(webp).decode()}">' if webp else ""


def _objects(found: Survey) -> str:
    """Objects that gave no clip, by name: what failed first."""
    lines = "".join(
        f"<tr><td>{_text(storage.name(row['uri']))}<td>{row['status']}: {_text(row['reason'])}" for row in found.without
    )
    left = found.num_without - len(found.without)
    more = f"<p>And {left} more.</p>" if left else ""
    return f"<table>{lines}</table>{more}"
