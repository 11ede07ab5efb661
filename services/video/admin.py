"""``python -m services.video.admin keys|jobs|cases|usage|certificates``: administration from the command line.

    python -m services.video.admin --ledger URL keys list [--owner NAME]
    python -m services.video.admin --ledger URL keys add OWNER [--name TEXT] [--scope make --scope read] [--days N]
    python -m services.video.admin --ledger URL keys revoke KEY_ID
    python -m services.video.admin --ledger URL jobs list [--owner NAME] [--status queued] [--limit N]
    python -m services.video.admin --ledger URL jobs cancel JOB_ID
    python -m services.video.admin --ledger URL cases list [--owner NAME] [--open] [--limit N]
    python -m services.video.admin --ledger URL cases overrule CASE_ID
    python -m services.video.admin --ledger URL usage [--owner NAME] [--by owner|key|day] [--days N]
    python -m services.video.admin certificates URI ORGANISATION [--days N]

Each prints a line of JSON for each row; ``certificates`` leaves a file of them with a mark's secret at a URI, for
``provenance.keys``. Exit 0 done, 1 failed, 2 wrong input.
"""

import argparse
import getpass
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from services.video.accounts.administration import Administration
from services.video.accounts.books import GroupBy
from services.video.accounts.keys import Scope
from services.video.accounts.schemas import (
    AdminCase,
    AdminJob,
    AdminKey,
    AdminKeyWithSecret,
    CreateKey,
    UsageRow,
    key_fields,
)
from services.video.job import Status
from services.video.ledger import Ledger
from services.video.provenance.keys import write_keys
from sora_core.errors import InputError, SoraError, StorageError

_DAY_S = 86_400.0
T = TypeVar("T")


class _NotThere(SoraError):
    """What a command names is not in the ledger."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.what == "certificates":
        return _certificates(asked)
    if asked.ledger is None:
        parser.error("--ledger is required: the service's, such as sqlite:////path")
    try:
        ledger = Ledger.open(asked.ledger)
        try:
            rows = _run(asked, Administration(ledger), f"cli:{getpass.getuser()}")
        finally:
            ledger.close()
    except ValidationError as error:
        first = error.errors()[0]
        sys.stderr.write(f"{first['loc'][0]}: {first['msg']}\n")
        return 2
    except SoraError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for row in rows:
        sys.stdout.write(json.dumps(row.model_dump(mode="json")) + "\n")
    return 0


def _run(asked: argparse.Namespace, admin: Administration, actor: str) -> Iterable[BaseModel]:
    match asked.what, getattr(asked, "do", None):
        case "keys", "list":
            return [AdminKey.of(key) for key in admin.keys(asked.owner)]
        case "keys", "add":
            expires_in_s = None if asked.days is None else asked.days * _DAY_S
            wanted = CreateKey(
                owner=asked.owner, name=asked.name, scopes=asked.scope or None, expires_in_s=expires_in_s
            )
            key, secret = admin.add_key(actor, wanted.owner, wanted.name, wanted.scopes, wanted.expires_in_s)
            return [AdminKeyWithSecret(**key_fields(key), secret=secret)]
        case "keys", "revoke":
            revoked = admin.revoke_key(actor, asked.id)
            return [AdminKey.of(_there(revoked, asked.id))]
        case "jobs", "list":
            status = None if asked.status is None else Status(asked.status)
            return [AdminJob.of(job) for job in admin.jobs(asked.owner, status, None, asked.limit).jobs]
        case "jobs", "cancel":
            return [AdminJob.of(_there(admin.cancel_job(actor, asked.id), asked.id))]
        case "cases", "list":
            return [AdminCase.of(case) for case in admin.cases(asked.owner, asked.open, None, asked.limit)]
        case "cases", "overrule":
            return [AdminCase.of(_there(admin.overrule(actor, asked.id), asked.id))]
    since = 0.0 if asked.days is None else time.time() - asked.days * _DAY_S
    return [UsageRow.of(used) for used in admin.usage(since, None, asked.owner, asked.by)]


def _certificates(asked: argparse.Namespace) -> int:
    try:
        written = write_keys(asked.uri, asked.organisation, asked.days)
    except (InputError, StorageError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not written:
        sys.stderr.write(f"{asked.uri} is there already, and stays\n")
        return 1
    sys.stdout.write(f"{asked.uri} written: keep it secret, and give it as provenance.keys\n")
    return 0


def _there(found: T | None, name: str) -> T:
    if found is None:
        raise _NotThere(f"{name} is not in the ledger: list what is")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.video.admin", description="Keys, jobs, refusals, usage.")
    parser.add_argument("--ledger", help="the service's: sqlite:////path or postgresql://user@host/name")
    what = parser.add_subparsers(dest="what", required=True)
    keys = what.add_parser("keys").add_subparsers(dest="do", required=True)
    keys.add_parser("list").add_argument("--owner")
    add = keys.add_parser("add")
    add.add_argument("owner")
    add.add_argument("--name", default="")
    add.add_argument("--scope", action="append", choices=[str(scope) for scope in Scope])
    add.add_argument("--days", type=float, help="until it ends by itself")
    keys.add_parser("revoke").add_argument("id")
    jobs = what.add_parser("jobs").add_subparsers(dest="do", required=True)
    shown = jobs.add_parser("list")
    shown.add_argument("--owner")
    shown.add_argument("--status", choices=[str(status) for status in Status])
    shown.add_argument("--limit", type=int, default=100)
    jobs.add_parser("cancel").add_argument("id")
    cases = what.add_parser("cases").add_subparsers(dest="do", required=True)
    refused = cases.add_parser("list")
    refused.add_argument("--owner")
    refused.add_argument("--open", action="store_true", help="those that nobody has overruled")
    refused.add_argument("--limit", type=int, default=100)
    cases.add_parser("overrule").add_argument("id")
    usage = what.add_parser("usage")
    usage.add_argument("--owner")
    usage.add_argument("--by", choices=get_args(GroupBy), default="key")
    usage.add_argument("--days", type=float, help="of the last so many days; of all time unless given")
    certificates = what.add_parser("certificates", help="a test authority's, with a mark's secret, in one file")
    certificates.add_argument("uri", help="where the file shall be, such as s3://my-bucket/keys.toml")
    certificates.add_argument("organisation", help="the name that readers are shown")
    certificates.add_argument("--days", type=int, default=365, help="how long the certificates are valid")
    return parser


if __name__ == "__main__":
    sys.exit(main())
