"""``judge``: thresholds applied again to scores that are stored, in seconds and without a look at the footage."""

from collections import Counter
from collections.abc import Iterator, Sequence

from jobs.curate.books import account, ledger, resume
from jobs.curate.books.commit import AWAITS, commit_judged
from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan, settings_of
from jobs.curate.pipeline import close, compared, measured_parts, missing_parts, write_others
from jobs.curate.progress import say
from jobs.curate.rows import Examined
from jobs.curate.settle import settled
from jobs.curate.stages.examine import examine_again
from jobs.curate.stages.latents import Encoders, Maker
from sora_core import shards, storage
from sora_core.errors import ConfigError


def judge_again(config: CurateConfig) -> None:
    """Give every measured clip the verdict of the config's thresholds and captions, and keep the output whole.

    A clip that is dropped now loses its latents. One that passes now and has none waits, as dropped, for the next run
    of the whole job, which encodes it alone. InputError when nothing was curated there, objects were never measured,
    or other models are asked for.
    """
    storage.check_writable(config.output)
    encoders = account.encoders_of(shards.read_manifest(config.output))
    config = settled(config)
    _check_models(config, encoders)
    vae, text_encoder = encoders.vae.fingerprint, encoders.text_encoder.fingerprint
    plan = compared(make_plan(config, settings_of(config, vae, text_encoder)), config)
    standing = resume.stand(config.output, plan.keys.values(), retry=False)
    if unseen := sum(map(len, missing_parts(plan, standing, config))):
        raise ConfigError(f"{unseen} objects under {config.source} were never measured: run jobs.curate without judge")
    write_others(plan, standing, config.output)
    maker = Maker(config, vae, text_encoder)
    committed: set[str] = set()
    changes: Counter[str] = Counter()
    for unit in measured_parts(plan, standing):
        before = ledger.recall(unit[0].previous or "", config.output)
        rows = [examine_again(source, before[source.uri], config) for source in unit]
        final = commit_judged(rows, maker, config.output)
        committed.add(ledger.part_name(row.source.key for row in final))
        changes.update(_changes(list(before.values()), final))
    resume.retire(config.output, standing, committed)
    close(plan, config, encoders)
    say(f"judge: {changes['kept']} clips are kept that were not, {changes['dropped']} dropped that were kept")
    if waiting := changes[AWAITS]:
        say(f"judge: {waiting} clips pass and have no latents yet: python -m jobs.curate with this config encodes them")


def _check_models(config: CurateConfig, encoders: Encoders) -> None:
    for name, made_by in (("vae", encoders.vae), ("text_encoder", encoders.text_encoder)):
        if getattr(config, name) != made_by.source:
            raise ConfigError(
                f"{name} = {getattr(config, name)!r}, but {config.output} was made by {made_by.source!r}: verdicts "
                "alone can't change that; run jobs.curate without judge"
            )


def _changes(before: Sequence[Examined], after: Sequence[Examined]) -> Iterator[str]:
    was = {clip.clip_id: clip.status == "kept" for row in before for clip in row.clips}
    for clip in (clip for row in after for clip in row.clips):
        if clip.reason == AWAITS:
            yield AWAITS
        elif was.get(clip.clip_id) != (clip.status == "kept"):
            yield "kept" if clip.status == "kept" else "dropped"
