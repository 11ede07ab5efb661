"""Interlaced pictures made whole: the two fields of one are of different moments, and comb what moves."""

from collections.abc import Iterator
from typing import Any

from av.error import BlockingIOError as NotYet
from av.error import FFmpegError
from av.filter import Graph


def whole(frames: Iterator[Any], time_base: Any) -> Iterator[Any]:
    """The same frames with the same stamps, in ticks of ``time_base``; those that are marked as interlaced by the
    better of weaving and interpolating, which looks at the frames beside each (FFmpeg's bwdif)."""
    graph, form = None, None
    for frame in frames:
        if graph and form != _form(frame):
            yield from _ended(graph, time_base)
            graph = None
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        if graph is None:
            graph, form = _begun(frame, time_base), _form(frame)
        frame.time_base = time_base
        graph.push(frame)
        yield from _ready(graph, time_base)
    if graph:
        yield from _ended(graph, time_base)


def _form(frame: Any) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _begun(frame: Any, time_base: Any) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    filtered = graph.add("bwdif", mode="send_frame", parity="auto", deint="interlaced")
    sink = graph.add("buffersink")
    source.link_to(filtered)
    filtered.link_to(sink)
    graph.configure()
    return graph


def _ended(graph: Graph, time_base: Any) -> Iterator[Any]:
    graph.push(None)
    yield from _ready(graph, time_base)


def _ready(graph: Graph, time_base: Any) -> Iterator[Any]:
    while True:
        try:
            frame = graph.pull()
        except (NotYet, EOFError, FFmpegError):
            return
        if frame.pts is not None and frame.time_base is not None:
            # The filter counts in halves of a tick.
            frame.pts = round(frame.pts * frame.time_base / time_base)
            frame.time_base = time_base
        yield frame
