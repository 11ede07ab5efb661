"""What a person chooses about curation."""

from typing import Literal, Self

from pydantic import Field, field_serializer, model_validator

from jobs.launch import JobConfig
from sora_core.captioner import without_credentials
from sora_core.media import Limits as ProcessLimits
from sora_core.precision import Choice, Precision, settle_alone
from sora_core.shapes import Compression


class Thresholds(JobConfig):
    """What a clip must measure to be kept; see `jobs.curate.measure.score` for the units. A score that is unknown
    passes."""

    min_sharpness: float = Field(ge=0)
    min_luma: float = Field(ge=0, le=255)
    max_luma: float = Field(ge=0, le=255)
    min_contrast: float = Field(ge=0)
    min_motion: float = Field(ge=0)
    max_motion: float = Field(gt=0)
    max_frozen: float = Field(ge=0, le=1)
    max_shake: float = Field(gt=0)
    max_blockiness: float = Field(gt=0)
    max_quantiser: float = Field(gt=0, le=51)
    max_duplicated: float = Field(ge=0, le=1)
    max_text: float = Field(ge=0, le=1)
    max_indecency: float = Field(ge=0, le=1)
    min_aesthetic: float | None = None
    max_watermark: float | None = None

    @model_validator(mode="after")
    def _leave_something(self) -> Self:
        for name, least in self:
            most = getattr(self, name.replace("min_", "max_"), None)
            if name.startswith("min_") and most is not None and least > most:
                raise ValueError(f"{name} = {least:g} is above {name.replace('min_', 'max_')} = {most:g}: drops all")
        return self


class Models(JobConfig):
    """Where the models' weights lie: a URI, or ``package:NAME/FILE`` in an installed package. Empty: the score stays
    unknown. `jobs.curate.measure.models` says what each must be."""

    text: str = ""
    indecency: str = ""
    aesthetic: str = ""
    watermark: str = ""
    transitions: Literal["", "transnetv2"] = ""
    """Who decides whether something is a transition where cheaper means are unsure; nobody: it is none."""
    transitions_dtype: Choice = "auto"
    """What they compute in, on a CPU; as ``vae_dtype``."""

    @property
    def finds_shots_in(self) -> Precision:
        """``transitions_dtype`` as the job has settled it; elsewhere ``auto`` is what this machine computes fast."""
        return settle_alone(self.transitions_dtype, "cpu")

    def weights(self) -> dict[str, str]:
        """Places by score, of those that are given."""
        return {name: uri for name, uri in self.model_dump(exclude={"transitions", "transitions_dtype"}).items() if uri}


class CaptionEndpoint(JobConfig):
    """An OpenAI-compatible endpoint with a vision-language model."""

    url: str = Field(repr=False)
    """Its base, such as http://host:8000/v1. A user name and a password in it are left out wherever it is written."""
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds its key; the driver's goes to all processes that ask."""
    frames: int = Field(default=6, ge=1)
    """Frames of a clip that are shown, spread evenly."""
    in_flight: int = Field(default=16, ge=1)
    """Requests at a time, of each process that asks; the frames of as many more wait in its memory."""
    timeout_s: float = Field(default=120, gt=0)
    max_retries: int = Field(default=4, ge=0)

    @field_serializer("url")
    def _without_credentials(self, url: str) -> str:
        return without_credentials(url)[0]

    @property
    def name(self) -> str:
        """What stands in a row whose caption it wrote."""
        return f"{self.model}, {self.frames} frames"


class Limits(JobConfig):
    """What an object may take until it is done; one that needs more becomes a row."""

    pixels: int = Field(default=1 << 26, ge=1)
    """Of a frame (``bad_dimensions``)."""
    seconds: float = Field(default=24 * 3600, gt=0)
    """Of a video (``too_long``)."""
    frames: int = Field(default=10_000_000, ge=1)
    """Of a video (``too_many_frames``)."""
    cpu_s: int = Field(default=12 * 3600, ge=1)
    """To look at it, or to decode its clips (``cpu_limit``)."""
    memory_bytes: int = Field(default=8 << 30, ge=1 << 28)
    """Of the process that decodes (``memory_limit``)."""
    deadline_s: float = Field(default=24 * 3600, gt=0)
    """By the clock, to look at it or to decode a clip (``decoder_deadline``)."""

    def of_a_process(self) -> ProcessLimits:
        """What the decoder's process is held to."""
        return ProcessLimits(self.memory_bytes, self.cpu_s, self.deadline_s)


class CurateConfig(JobConfig):
    """Footage to latents: everything that a clip's rows depend on, and how many actors make them."""

    source: str
    """Folder or bucket prefix with the footage and its captions."""
    output: str
    """Folder or bucket prefix for latents, ledger, manifest and report."""
    dry_run: bool = False
    """Whether only is said what would be done, and how long it would take."""
    limit: int | None = Field(default=None, ge=1)
    """Objects with footage that are taken, the first by name; all when left out."""
    sample: float | None = Field(default=None, gt=0, le=1)
    """Share of the objects with footage that is taken, the same each time; all when left out."""
    prune: bool = False
    """Whether objects of the output that aren't under ``source`` (any more) are removed from it; else they stay."""
    max_removed: float = Field(default=0.1, ge=0, le=1)
    """Share of the output's objects or kept clips that one run may take away; more ends it before anything goes."""
    grace_hours: float = Field(default=24, ge=0)
    """Latents that a new manifest leaves out stay so long for those who read by the old one."""
    vae: str
    text_encoder: str
    vae_dtype: Choice = "auto"
    """What the autoencoder computes in: ``auto`` is what every node that encodes computes fast, as the output began."""
    fps: float | None = Field(default=None, gt=0, le=240)
    """Frames a second of every clip; each file's own when left out."""
    max_area: int = Field(ge=256)
    """Pixels of a frame; larger ones are scaled down, smaller ones stay."""
    max_frames: int = Field(ge=1)
    """Longer shots are divided into clips of this many frames."""
    min_frames: int = Field(ge=1)
    """Shorter shots and remainders are dropped. A file of one frame is a photograph and needs no more."""
    caption_default: str | None = None
    """Caption of footage that has none."""
    captioner: Literal["none", "describer", "endpoint"] = "describer"
    """Who speaks for clips that nobody has captioned: the rule-based describer (colours, light, movement, length), a
    vision-language model behind ``caption_endpoint``, or nobody, which drops them."""
    caption_endpoint: CaptionEndpoint | None = None
    gate: bool = True
    """Whether clips are dropped whose captions the service would refuse as prompts (``unsafe_words``, docs/SAFETY.md);
    ``max_indecency`` is the same judge's threshold for pictures."""
    max_likeness: float | None = Field(default=None, gt=0, le=1)
    """Clips that resemble a better one of another object by more than this are dropped (``near_duplicate``; 0.84 was
    measured, docs/CURATION.md). Everything is then looked at before anything is encoded. None compares nothing."""
    num_captioners: int = Field(default=1, ge=1)
    val_fraction: float = Field(ge=0, lt=1)
    """Share of sources whose clips are kept apart for validation."""
    thresholds: Thresholds
    models: Models = Models()
    limits: Limits = Limits()
    num_examiners: int = Field(ge=1)
    num_encoders: int = Field(ge=1)
    gpus_per_encoder: float = Field(ge=0)
    clips_per_batch: int = Field(ge=1)
    """Clips of one shape that the autoencoder encodes together."""
    sources_per_part: int = Field(ge=1)
    bytes_per_part: int = Field(ge=1)
    """A part, the unit of work that is committed whole, closes at this many sources or bytes of footage."""
    scratch_bytes: int | None = Field(default=None, ge=1)
    """The largest object that a process fetches; larger ones become rows. What its disk has left, when left out."""
    max_faults_in_a_row: int = Field(default=8, ge=1)
    """Objects in a row that a process may find unreadable for the same fault of the storage, or clips that the caption
    endpoint gives no words for; then the job stops."""

    @property
    def encodes_in(self) -> Precision:
        """``vae_dtype`` as the job has settled it; elsewhere ``auto`` is what this machine computes fast."""
        return settle_alone(self.vae_dtype, self.encoder_device)

    @property
    def encoder_device(self) -> Literal["cpu", "cuda"]:
        return "cuda" if self.gpus_per_encoder else "cpu"

    @model_validator(mode="after")
    def _lengths_fit_the_autoencoder(self) -> Self:
        for name in ("min_frames", "max_frames"):
            frames = getattr(self, name)
            if Compression().trim_frames(frames) != frames:
                raise ValueError(f"{name} = {frames} must be 4k + 1, such as {Compression().trim_frames(frames)}")
        if (self.captioner == "endpoint") != (self.caption_endpoint is not None):
            raise ValueError('captioner = "endpoint" and a [caption_endpoint] with url and model go together')
        if self.prune and (self.limit or self.sample):
            raise ValueError("prune with limit or sample would remove everything that they leave out: give prune alone")
        if self.min_frames > self.max_frames:
            raise ValueError(f"min_frames = {self.min_frames} is above max_frames = {self.max_frames}")
        return self
