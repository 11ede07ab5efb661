"""Make the file that holds certificates and mark secrets: ``python -m services.video.provenance URI ORGANISATION``."""

import argparse
import logging
import sys

from services.video.provenance.keys import write_keys
from sora_core.errors import InputError, StorageError

log = logging.getLogger("services.video.provenance")


def main(arguments: list[str] | None = None) -> int:
    """0 when the file is written, 1 when there is one already, 2 for a place that can't be written."""
    parser = argparse.ArgumentParser(prog="python -m services.video.provenance", description=__doc__)
    parser.add_argument("uri", help="where the file shall be, such as s3://my-bucket/keys.toml")
    parser.add_argument("organisation", help="the name that readers are shown")
    parser.add_argument("--days", type=int, default=365, help="how long the certificates are valid")
    wanted = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        written = write_keys(wanted.uri, wanted.organisation, wanted.days)
    except (InputError, StorageError) as error:
        log.error("%s", error)
        return 2
    log.info("%s %s", wanted.uri, "written; keep it secret" if written else "is there already, and stays")
    return 0 if written else 1


if __name__ == "__main__":
    sys.exit(main())
