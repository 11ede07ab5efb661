"""Which files are a job's, wherever its output was when they were stored."""

from collections.abc import Iterator
from typing import Any

from services.video.files import job_folder
from services.video.job import Job
from sora_core import storage
from sora_core.errors import MissingObject


def places_of(job: Job, output: str) -> set[str]:
    """The folders that hold files of a job: the one under today's output, and those that its row names."""
    mark = f"/{job.id}/"
    named = (uri for uri in _uris((job.result, job.saved, job.made, job.params)) if mark in uri)
    return {job_folder(output, job.id), *(uri[: uri.index(mark) + len(mark) - 1] for uri in named)}


def results_of(job: Job) -> set[str]:
    """The files that a job ended with."""
    return set(_uris(job.result))


def leave_only(folder: str, kept: set[str]) -> int:
    """Remove every file below a folder but these; how many went."""
    found = below(folder)
    gone = [uri for uri in found if uri not in kept]
    holding = {_place(uri, folder) for uri in found if uri in kept}
    for place in {_place(uri, folder) for uri in gone} - holding:
        storage.delete_prefix(place)  # whole, with its empty folder
    for uri in gone:
        if _place(uri, folder) in holding:
            storage.delete(uri)
    return len(gone)


def _place(uri: str, folder: str) -> str:
    """The first folder, or file, on the way from a folder to a file below it."""
    return storage.join(folder, uri.removeprefix(folder).lstrip("/").partition("/")[0])


def below(folder: str) -> list[str]:
    """The files below a folder; none when there is no such folder."""
    try:
        return [item.uri for item in storage.list_objects(f"{folder}/" if storage.is_s3(folder) else folder)]
    except MissingObject:
        return []


def _uris(value: Any) -> Iterator[str]:
    """Every string in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _uris(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _uris(inner)
