"""The files that another was made of: kept with the job as they came, so that its credentials tell of theirs."""

from collections.abc import Iterable
from pathlib import Path

from services.video.files import source_folder
from sora_core import storage
from sora_core.errors import MissingObject
from sora_core.media import Isolated
from sora_core.safety.credentials import Ingredient, media_type_of, read_credentials


def with_credentials(files: Iterable[Path], process: Isolated) -> list[Path]:
    """Those of a request's files that carry content credentials, as a process reads them that decodes strangers'."""
    found = []
    for file in files:
        media_type = media_type_of(file)
        if media_type is None:
            continue
        with process.lent(file) as seen:
            if process.call(read_credentials, seen, media_type).state != "not_present":
                found.append(file)
    return found


def store_sources(output: str, job_id: str, files: Iterable[Path]) -> None:
    """Keep files that carry content credentials."""
    for index, file in enumerate(files):
        name = f"{index}-{(media_type_of(file) or '').replace('/', '-')}"
        storage.upload(file, storage.join(source_folder(output, job_id), name))


def read_sources(output: str, job_id: str, folder: Path) -> list[Ingredient]:
    """The kept files, fetched into a folder."""
    try:
        stored = [item.uri for item in storage.list_objects(source_folder(output, job_id))]
    except MissingObject:
        return []
    found = []
    for uri in stored:
        path = storage.download(uri, folder / f"source-{storage.name(uri)}")
        kind, subtype = storage.name(uri).split("-", 2)[1:]
        found.append(Ingredient(path, f"{kind}/{subtype}", title_of(path, f"{kind}/{subtype}")))
    return found


def title_of(path: Path, media_type: str) -> str:
    """The title that a file's own credentials give it."""
    return read_credentials(path, media_type).title or "source"
