"""Forms with files, read so that no part of them can fill the memory: files lie on disk from the first byte."""

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass, field
from pathlib import Path

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from services.video.errors import ApiError, refused
from services.video.limits import FORM_OVERHEAD_BYTES, MAX_FIELDS, MAX_FILES, MAX_NAME_CHARS, MAX_PART_HEADER_BYTES


@dataclass(slots=True)
class Form:
    """The parts of a form in their order, and files by the name of their part."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)


class _BoundedParser(MultiPartParser):
    """``folder`` takes the parts that may be files (by the first part of their name), whether or not they say that they
    are: some clients leave the file's name out. ``max_text_bytes`` bounds all other parts together."""

    def __init__(
        self,
        headers: Headers,
        stream: AsyncGenerator[bytes, None],
        folder: Path | None,
        may_be_files: Collection[str],
        max_text_bytes: int,
    ) -> None:
        super().__init__(headers, stream, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=max_text_bytes)
        self._folder = folder
        self._may_be_files = may_be_files
        self._text_left = max_text_bytes
        self._header_left = MAX_PART_HEADER_BYTES
        self.paths: dict[UploadFile, Path] = {}

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._header_left = MAX_PART_HEADER_BYTES

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._use_header(end - start)
        super().on_header_field(data, start, end)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._use_header(end - start)
        super().on_header_value(data, start, end)

    def _use_header(self, size: int) -> None:
        self._header_left -= size
        if self._header_left < 0:
            raise MultiPartException(f"the headers of a part have more than {MAX_PART_HEADER_BYTES} bytes")

    def on_headers_finished(self) -> None:
        """Starlette's own decides by the file's name alone, and begins the file in memory."""
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        if b"name" not in options:
            raise MultiPartException('the Content-Disposition of a part has no "name"')
        part.field_name = options[b"name"].decode("utf-8", "replace")
        if len(part.field_name) > MAX_NAME_CHARS:
            raise refused(
                part.field_name[:40], f"a name of {len(part.field_name)} characters: at most {MAX_NAME_CHARS}"
            )
        if self._folder is not None and part.field_name.partition("[")[0] in self._may_be_files:
            self._begin_file(self._folder / f"part-{self._current_files}")
            return
        self._current_fields += 1
        if self._current_fields > MAX_FIELDS:
            raise MultiPartException(f"more than {MAX_FIELDS} fields")

    def _begin_file(self, path: Path) -> None:
        part = self._current_part
        self._current_files += 1
        if self._current_files > MAX_FILES:
            raise MultiPartException(f"more than {MAX_FILES} files")
        part.file = UploadFile(path.open("w+b"), size=0, headers=Headers(raw=part.item_headers))
        self.paths[part.file] = path

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self._text_left -= end - start
            if self._text_left < 0:
                raise ApiError(413, "the texts of the form are too large: send pictures as files", code="too_large")
        super().on_part_data(data, start, end)

    def close(self) -> None:
        for upload in self.paths:
            upload.file.close()


async def read_form(
    headers: Headers,
    stream: AsyncGenerator[bytes, None],
    folder: Path | None,
    may_be_files: Collection[str],
    max_text_bytes: int,
) -> Form:
    """A multipart form. ApiError 400 or 413 for one that is damaged or too large."""
    parser = _BoundedParser(headers, stream, folder, may_be_files, max_text_bytes)
    try:
        await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"the form can't be read: {error.message}", code="invalid_form") from error
    finally:
        parser.close()
    form = Form()
    left = max_text_bytes + FORM_OVERHEAD_BYTES
    for name, value in parser.items:
        if isinstance(value, str):
            form.fields.append((name, value))
            continue
        text = _as_text(parser.paths[value], value, left)
        if text is None:
            form.files[_free_name(form.files, name)] = parser.paths[value]
        else:
            left -= len(text)
            form.fields.append((name, text))
    return form


def _as_text(path: Path, part: UploadFile, most: int) -> str | None:
    """What a part that might be a file says when it is none: an id, a URL, a JSON text, or nothing at all."""
    _, options = parse_options_header(part.headers.get("content-disposition"))
    size = path.stat().st_size
    if size and (b"filename" in options or size > most):
        return None
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    kind = part.headers.get("content-type", "text/plain").partition("/")[0]
    return None if "\0" in text or kind in ("image", "video") else text


def _free_name(files: dict[str, Path], name: str) -> str:
    """The first file of a name is called by it; of several, ``a[]`` or ``a`` again, each has its number."""
    base = name.removesuffix("[]")
    numbered = [other for other in files if other == base or other.startswith(f"{base}[")]
    if name == base and not numbered:
        return name
    if base in files:
        files[f"{base}[0]"] = files.pop(base)
    return name if name != base and not name.endswith("[]") else f"{base}[{len(numbered)}]"
