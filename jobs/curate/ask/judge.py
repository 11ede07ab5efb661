"""``judge``: thresholds applied again to scores that are stored, in seconds and without a look at the footage."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from jobs.curate.books import account, forgotten, lease, ledger, removal, resume
from jobs.curate.books.commit import AWAITS, commit_judged
from jobs.curate.books.lease import Lease
from jobs.curate.books.parts import read_parts
from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan, settings_of
from jobs.curate.pipeline import close, compared, measured_parts, missing_parts, write_others
from jobs.curate.rows import Clip, Examined, Source
from jobs.curate.settle import settled
from jobs.curate.stages.examine import examine_again
from jobs.curate.stages.latents import Encoders, Maker
from jobs.launch import write_resolved
from jobs.progress import say
from sora_core import shards, storage
from sora_core.errors import ConfigError

_EXAMPLES = 5


@dataclass(slots=True)
class Outcome:
    """What new verdicts would do: clips kept before and after, those of them that were and wouldn't be, changes by what
    was and what would be, and examples."""

    before: int = 0
    after: int = 0
    lost: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, was: Sequence[Examined], now: Sequence[Examined]) -> None:
        """The clips of some sources as they stand in the ledger, and as they would."""
        verdicts = {clip.clip_id: clip for row in was for clip in row.clips}
        self.before += sum(clip.status == "kept" for clip in verdicts.values())
        for row in now:
            for clip in row.clips:
                self.after += clip.status == "kept"
                change = (_verdict(verdicts.get(clip.clip_id)), _verdict(clip))
                self.lost += change[0] == "kept" != change[1]
                # What waits for its latents passed already.
                if change[0] != change[1] and change != (AWAITS, "kept"):
                    self.changes[change] += 1
                    known = self.examples.setdefault(change, [])
                    if len(known) < _EXAMPLES:
                        known.append(f"{storage.name(row.source.uri)} {clip.start_s:.1f}-{clip.end_s:.1f} s")

    def lines(self) -> Iterator[str]:
        """A table for people."""
        yield f"judge: {self.before} clips kept before, {self.after} would pass"
        for (was, now), number in sorted(self.changes.items(), key=lambda item: (-item[1], item[0])):
            yield f"  {number:>9} {was} -> {now}: {', '.join(self.examples[was, now])}"


def _verdict(clip: Clip | None) -> str:
    return "new" if clip is None else clip.reason or clip.status


def judge_again(config: CurateConfig) -> None:
    """Give every measured clip the verdict of the config's thresholds and captions, and keep the output whole.

    A clip that is dropped now loses its latents. One that passes now and has none waits, as dropped, for the next run
    of the whole job, which encodes it alone. With ``dry_run`` it is only said what would happen. InputError when
    nothing was curated there, objects were never measured, other models are asked for, or more clips would go than
    ``max_removed`` allows.
    """
    encoders = account.encoders_of(shards.read_manifest(config.output))
    _check_models(config, encoders)
    if config.dry_run:
        _judge(settled(config), encoders, None)
        return
    storage.check_writable(config.output)
    with lease.held(config.output) as held:
        _judge(settled(config), encoders, held)


def _judge(config: CurateConfig, encoders: Encoders, held: Lease | None) -> None:
    vae, text_encoder = encoders.vae.fingerprint, encoders.text_encoder.fingerprint
    known = read_parts(config.output)
    plan = make_plan(config, settings_of(config, vae, text_encoder), () if config.prune else known)
    plan = forgotten.without(plan, config.output)
    removal.check_pruned(known, plan.keys, config)
    plan = compared(plan, config, known)
    wanted = plan.keys
    standing = resume.stand(known, wanted, resume.stored_names(config.output), retry=False, prune=config.prune)
    if unseen := sum(map(len, missing_parts(plan, standing, config))):
        raise ConfigError(f"{unseen} objects under {config.source} were never measured: run jobs.curate without judge")
    units = measured_parts(plan, standing)
    outcome = Outcome()
    for was, now in (_judged(unit, config) for unit in units):
        outcome.add(was, now)
    for line in outcome.lines():
        say(line)
    if held is None:
        return
    num_clips = shards.read_manifest(config.output).totals.clips
    removal.check_shrunk(num_clips, num_clips - outcome.lost, config)
    write_resolved(config, config.output)
    resume.settle(standing, config.output)
    write_others(plan, standing, config.output)
    maker = Maker(config, vae, text_encoder)
    committed: set[str] = set()
    waiting = 0
    for unit in units:
        final = commit_judged(_judged(unit, config)[1], maker, config.output)
        committed.add(ledger.part_name(row.source.key for row in final))
        waiting += sum(clip.reason == AWAITS for row in final for clip in row.clips)
    close(config, encoders, wanted.keys(), known, standing, committed, held)
    if waiting:
        say(f"judge: {waiting} clips pass and have no latents yet: python -m jobs.curate with this config encodes them")


def _judged(unit: Sequence[Source], config: CurateConfig) -> tuple[list[Examined], list[Examined]]:
    """Sources as they stand in the ledger, and with the verdicts of now."""
    before = ledger.recall(unit[0].previous or "", config.output)
    was = [before[source.uri] for source in unit]
    return was, [examine_again(source, row, config) for source, row in zip(unit, was, strict=True)]


def _check_models(config: CurateConfig, encoders: Encoders) -> None:
    for name, made_by in (("vae", encoders.vae), ("text_encoder", encoders.text_encoder)):
        if getattr(config, name) != made_by.source:
            raise ConfigError(
                f"{name} = {getattr(config, name)!r}, but {config.output} was made by {made_by.source!r}: verdicts "
                "alone can't change that; run jobs.curate without judge"
            )
