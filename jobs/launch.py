"""What every job's command does alike: read the config, find or start Ray, say what went wrong, set the exit code.

``python -m jobs.<name> --config FILE.toml [--set key=value ...]``; exit 0 done, 1 failed, 2 wrong input.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

import ray
from pydantic import BaseModel, ConfigDict, ValidationError
from ray.util import metrics as ray_metrics

from sora_core import storage, telemetry
from sora_core.errors import ConfigError, InputError, SoraError, StorageError
from sora_core.telemetry import Kind, Metric

logger = logging.getLogger(__name__)


class JobConfig(BaseModel):
    """Base of every job's config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=JobConfig)


def run(
    name: str, config_class: type[ConfigT], main: Callable[[ConfigT], None], argv: list[str] | None = None
) -> NoReturn:
    """The whole life of a job's command; ends the process with the job's exit code.

    ``argv`` are the arguments that say the config: by default the process's own.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    for chatty in ("botocore", "boto3", "httpx", "httpx2", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for kind in (signal.SIGTERM, signal.SIGINT):  # a shell's background job starts with SIGINT ignored
        signal.signal(kind, _interrupt)
    try:
        main(load_config(name, config_class, sys.argv[1:] if argv is None else argv))
    except (InputError, StorageError) as error:
        print(f"jobs.{name}: {error}", file=sys.stderr)  # noqa: T201 - the command's own output
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"jobs.{name}: interrupted; the same command goes on from here", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except SoraError as error:
        print(f"jobs.{name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except Exception:
        logger.exception("jobs.%s failed; the same command goes on from what is done", name)
        sys.exit(1)
    sys.exit(0)


def _interrupt(_signum: int, _frame: object) -> NoReturn:
    """A polite kill ends a job as Ctrl-C does: its Ray cluster is stopped on the way out."""
    raise KeyboardInterrupt


def load_config(name: str, config_class: type[ConfigT], argv: list[str]) -> ConfigT:
    """The config of a command line: the file, then each ``--set``, then the class's own defaults.

    ConfigError names the file or the key and what it takes.
    """
    parser = argparse.ArgumentParser(prog=f"python -m jobs.{name}", description=config_class.__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help=f"default: jobs/configs/{name}.toml")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="key=value", dest="overrides")
    arguments = parser.parse_args(argv)
    path = arguments.config or Path(__file__).parent / "configs" / f"{name}.toml"
    values = _read_toml(path)
    for override in arguments.overrides:
        _apply(values, override)
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_sentences(error, config_class)}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}; give a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--config {path}: not valid TOML ({error})") from error


def _apply(values: dict[str, Any], override: str) -> None:
    """Put one ``a.b=value`` into nested ``values``; the value is TOML if it parses, else a string."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: write key=value")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, leaf = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} is a value, not a table")
    values[leaf] = value


def _sentences(error: ValidationError, config_class: type[BaseModel]) -> str:
    """A pydantic error as sentences that name each key, its value and what would do."""
    parts = []
    for item in error.errors():
        key = ".".join(str(step) for step in item["loc"]) or "config"
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key {key!r}; the keys are {', '.join(_fields(config_class, item['loc'][:-1]))}")
        elif item["type"] == "missing":
            parts.append(f"{key!r} is missing; add it to the file or give --set {key}=...")
        elif not item["loc"] or isinstance(item["input"], dict):  # of several values together; the message names them
            parts.append(item["msg"].removeprefix("Value error, "))
        else:
            parts.append(f"{key!r} = {item['input']!r}: {item['msg']}")
    return "; ".join(parts)


def _fields(config_class: type[BaseModel], path: Sequence[int | str]) -> Iterable[str]:
    """The keys of the table that ``path`` leads to."""
    for step in path:
        annotation = config_class.model_fields[step].annotation if isinstance(step, str) else None
        kinds = (kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type))
        config_class = next((kind for kind in kinds if issubclass(kind, BaseModel)), config_class)
    return config_class.model_fields


def write_resolved(config: JobConfig, output: str) -> None:
    """Leave the config as it was understood beside a job's output, as ``config.json``."""
    storage.write_bytes(storage.join(output, "config.json"), config.model_dump_json(indent=1).encode())


def require_free_port(port: int) -> None:
    """ConfigError when something listens on a loopback port that a server is to take."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                f"port {port} is taken: end what listens there, or choose another in the config"
            ) from error


# --- Ray


@contextmanager
def ray_session(*, num_cpus: int | None = None) -> Iterator[None]:
    """The cluster named by RAY_ADDRESS (as under ``ray job submit``), or a local one that ends with the job.

    A laptop has few cores and the stages are light, so a local cluster offers at least ``num_cpus`` logical ones.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not sys.stdout.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # a log has no colours
    address = os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, log_to_driver=True)
    else:
        # A local init would otherwise write a token that locks out every later cluster of the user.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        cores = max(num_cpus or 0, os.cpu_count() or 1)
        ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=True)
    try:
        yield
    finally:
        ray.shutdown()


class RayBackend:
    """Sends the catalogue's metrics to Ray, whose agent on each node Prometheus scrapes."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        if metric.kind is Kind.COUNTER and value == 0:  # which Ray takes for a mistake
            return
        if metric.name not in self._handles:
            self._handles[metric.name] = _ray_handle(metric)
        handle = self._handles[metric.name]
        verb = {Kind.COUNTER: "inc", Kind.GAUGE: "set", Kind.HISTOGRAM: "observe"}[metric.kind]
        getattr(handle, verb)(value, tags=dict(tags))


def _ray_handle(metric: Metric) -> Any:
    if metric.kind is Kind.COUNTER:
        return ray_metrics.Counter(metric.name, metric.help, metric.tags)
    if metric.kind is Kind.GAUGE:
        return ray_metrics.Gauge(metric.name, metric.help, metric.tags)
    return ray_metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.tags)


def bind_ray_metrics() -> None:
    """Send this process's metrics to Ray: called by each driver, actor and worker of a job."""
    telemetry.bind(RayBackend())
