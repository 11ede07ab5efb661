"""The job, read top to bottom: footage -> start or go on -> steps -> measure -> weights, card and picture."""

import io
import json
import logging

import torch

from jobs.launch import write_resolved
from jobs.train_vae import measure
from jobs.train_vae.card import card, picture
from jobs.train_vae.config import TrainVaeConfig
from jobs.train_vae.footage import Footage, read_footage
from jobs.train_vae.progress import Progress
from jobs.train_vae.trainer import Trainer
from sora_core import storage
from sora_core.errors import ConfigError
from sora_core.precision import Choice, settle_here
from sora_core.vae import folder
from sora_core.vae.causal import encode_moments
from sora_core.vae.perceptual import PerceptualDistance
from sora_core.vae.whitening import Whitening, WhiteningStatistics

logger = logging.getLogger(__name__)

_STATISTICS_CLIPS = 100
_DTYPE = torch.float16  # has the most bits of what is as small, and no weight is large


def train_vae(config: TrainVaeConfig) -> None:
    """Train until ``steps``; the same command goes on from the last checkpoint."""
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    storage.check_writable(config.output)
    footage = read_footage(config)
    trainer = _begin(config, footage)
    config = trainer.config
    ruler = _Ruler(config, footage)
    write_resolved(config, config.output)
    progress = Progress("training", config.steps, done=trainer.step)
    lines: list[dict[str, float]] = []
    while trainer.step < config.steps:
        terms = trainer.advance()
        lines.append({"step": trainer.step, **terms})
        progress.tick(terms["loss"])
        if trainer.step % config.checkpoint_every == 0 or trainer.step == config.steps:
            _save(trainer, lines)
            lines = []
            quality = ruler.glance(measure.through(trainer.average.eval()))
            logger.info("step %d on held-out clips: %s; PCA: %s", trainer.step, quality, ruler.pca["held-out footage"])
    _finish(trainer, footage, ruler)


class _Ruler:
    """The clips to measure on, and what the linear codec reaches on them."""

    def __init__(self, config: TrainVaeConfig, footage: Footage) -> None:
        self.alex, self.vgg = PerceptualDistance("alex"), PerceptualDistance("vgg")
        self.clips = {
            "held-out footage": measure.held_out_clips(footage.held_out, config),
            "controlled world": measure.world_clips(config),
        }
        codec = measure.fit_pca(footage.train, config)
        self.linear: measure.Codec = lambda clips: codec.decode(codec.encode(clips))
        self.pca = self.table(self.linear)

    def table(self, codec: measure.Codec) -> dict[str, measure.Quality]:
        """Every measure on every kind of clips."""
        return {name: measure.quality(clips, codec, self.alex, self.vgg) for name, clips in self.clips.items()}

    def glance(self, codec: measure.Codec) -> measure.Quality:
        """The quick ones, on held-out footage."""
        return measure.quality(self.clips["held-out footage"], codec, self.alex)


def _begin(config: TrainVaeConfig, footage: Footage) -> Trainer:
    """A run at its last checkpoint under ``output``, or at its start; in the precision that it began with."""
    uri = _state_uri(config)
    if not storage.exists(uri):
        trainer = Trainer(_settled(config, config.precision), footage.train)
        logger.info("starting %s", "as a linear codec" if config.warm_start else "at random")
        trainer.start()
        return trainer
    state = torch.load(io.BytesIO(storage.read_bytes(uri)), weights_only=False)
    before = {"precision": config.precision} | state["config"]  # it wasn't always written
    choice = before["precision"] if config.precision == "auto" else config.precision
    trainer = Trainer(_settled(config, choice), footage.train)
    now = config.model_dump(mode="json") | {"precision": choice}
    if changed := sorted(key for key in now if now[key] != before.get(key)):
        raise ConfigError(
            f"{uri} was begun with other values of {', '.join(changed)}; give a new output, or the values of its config"
        )
    trainer.load_state_dict(state)
    logger.info("going on from step %d of %s", trainer.step, uri)
    return trainer


def _settled(config: TrainVaeConfig, choice: Choice) -> TrainVaeConfig:
    return config.model_copy(update={"precision": settle_here(choice, "cpu", "training in")})


def _save(trainer: Trainer, lines: list[dict[str, float]]) -> None:
    """The numbers of the steps since the last checkpoint, then everything that going on needs."""
    config = trainer.config
    text = "".join(json.dumps(line) + "\n" for line in lines)
    storage.write_bytes(storage.join(config.output, "metrics", f"{trainer.step:08d}.jsonl"), text.encode())
    buffer = io.BytesIO()
    torch.save(trainer.state_dict(), buffer)
    storage.write_bytes(_state_uri(config), buffer.getvalue())


def _state_uri(config: TrainVaeConfig) -> str:
    return storage.join(config.output, "state.pt")


def _finish(trainer: Trainer, footage: Footage, ruler: _Ruler) -> None:
    """Write the averaged weights, then measure what was written."""
    config = trainer.config
    model = trainer.average.eval()
    whitening = _statistics(trainer)
    model.register_to_config(latents_mean=list(whitening.mean), latents_std=list(whitening.std))
    with storage.scratch() as temporary:
        path = temporary / "vae"
        folder.write_model(model, path, _DTYPE)
        written = folder.read_model(path)
        codec = measure.through(written)
        ours = ruler.table(codec)
        table = {name: {"PCA": ruler.pca[name], "this one": ours[name]} for name in ours}
        text = card(
            config,
            table,
            parameters=sum(parameter.numel() for parameter in written.parameters()),
            weights_bytes=(path / "model.safetensors").stat().st_size,
            dtype=str(_DTYPE).removeprefix("torch."),
            train=sorted(footage.train),
            held_out=sorted(footage.held_out),
        )
        (path / "README.md").write_text(text)
        (path / "training.json").write_text(config.model_dump_json(indent=1) + "\n")
        shown = ruler.clips["held-out footage"][::2]
        (path / "reconstructions.png").write_bytes(picture([shown, ruler.linear(shown), codec(shown)]))
        storage.upload_folder(path, storage.join(config.output, "vae"))
    for name, codecs in table.items():
        logger.info("%s: %s", name, "; ".join(f"{codec}: {quality}" for codec, quality in codecs.items()))
    logger.info("weights, card and pictures: %s", storage.join(config.output, "vae"))


def _statistics(trainer: Trainer) -> Whitening:
    """Of the latents of training crops, channel by channel."""
    statistics = WhiteningStatistics()
    with torch.no_grad():
        for clip in trainer.clips(_STATISTICS_CLIPS, trainer.config.phases[-1].frames).split(1):
            statistics.update(encode_moments(trainer.average, clip)[0][0])
    return statistics.result(power=1.0)
