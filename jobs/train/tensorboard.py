"""A run's lines as TensorBoard's event records."""

import struct
from collections.abc import Iterator, Mapping

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

FOLDER = "tensorboard"
_VERSION = "brain.Event:2"


def opening(step: int, wall_time: float) -> bytes:
    """What a file of events begins with: later steps that an interrupted run had written before count no more."""
    version = Event(wall_time=wall_time, file_version=_VERSION)
    start = Event(wall_time=wall_time, step=step, session_log=SessionLog(status=SessionLog.START))
    return _record(version) + _record(start)


def event(line: Mapping[str, object]) -> bytes:
    """Every number of a step's line, those in tables under ``table/key``."""
    values = [Summary.Value(tag=tag, simple_value=number) for tag, number in _numbers(line)]
    return _record(Event(wall_time=line["time"], step=line["step"], summary=Summary(value=values)))


def _numbers(line: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}/{key}", float(number)) for key, number in value.items())
        elif isinstance(value, int | float) and name not in ("step", "time"):
            yield name, float(value)


def _record(message: Event) -> bytes:
    """Length and content, each with its checksum."""
    data = message.SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))
