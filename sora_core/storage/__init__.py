"""One URI for a bucket and for a folder: ``s3://bucket/key``, ``file:///path`` or a plain path.

Endpoint and credentials are the standard ``AWS_*`` variables, as boto3 reads them; with ``AWS_ENDPOINT_URL`` unset the
same code talks to AWS. Every failure is a `StorageError` that names the URI and the remedy.
"""

from sora_core.scratch import scratch, sweep_scratch
from sora_core.storage.hub import fetch_from_hub, is_hub_id
from sora_core.storage.listing import ObjectInfo, exists, head, list_objects
from sora_core.storage.objects import (
    check_readable,
    check_writable,
    create_bucket,
    delete,
    delete_prefix,
    download,
    download_folder,
    local_file,
    open_input,
    open_output,
    presign,
    read_bytes,
    read_range,
    upload,
    upload_folder,
    write_bytes,
)
from sora_core.storage.places import filesystem, is_s3, join, local_path, name

__all__ = [
    "ObjectInfo", "check_readable", "check_writable", "create_bucket", "delete", "delete_prefix", "download",
    "download_folder", "exists", "fetch_from_hub", "filesystem", "head", "is_hub_id", "is_s3", "join", "list_objects",
    "local_file", "local_path", "name", "open_input", "open_output", "presign", "read_bytes", "read_range", "scratch",
    "sweep_scratch", "upload",
    "upload_folder", "write_bytes",
]  # fmt: skip
