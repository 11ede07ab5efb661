"""The house as a test: who may import whom, which library stays behind which fence, what every file looks like."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Low to high. A room imports only lower floors; rooms on one floor are strangers.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"sora_core.errors", "sora_core.installed", "sora_core.shipped"}),
    frozenset({"sora_core.precision", "sora_core.scratch", "sora_core.shapes", "sora_core.telemetry"}),
    frozenset(
        {
            "sora_core.captioner",
            "sora_core.edits",
            "sora_core.storage",
            "sora_core.nn",
            "sora_core.media",
            "sora_core.likeness",
            "sora_core.safety",
            "sora_core.vocabulary",
            "sora_core.world",
        }
    ),
    frozenset({"sora_core.shards", "sora_core.text", "sora_core.vae", "sora_core.dit", "sora_core.diffusion"}),
    frozenset({"sora_core.training", "sora_core.checkpoint", "sora_core.shard_reader", "sora_core.vision"}),
    frozenset({"sora_core.pipeline"}),
    frozenset({"jobs.launch", "jobs.progress"}),
)
LIBRARY_FENCES = {
    "ray": ("jobs", "services"),
    "pydantic": ("jobs", "services"),
    "fastapi": ("services",),
    "starlette": ("services",),
    "sqlalchemy": ("services",),
    "alembic": ("services",),
    "transformers": ("sora_core.text", "sora_core.vision"),
    "diffusers": ("sora_core.vae",),
    "av": ("sora_core.media",),
    "boto3": ("sora_core.storage",),
    "huggingface_hub": ("sora_core.storage",),
    "openai": ("sora_core.captioner", "jobs.demo"),
    "botocore": ("sora_core.storage",),
    "c2pa": ("sora_core.safety",),
    "cryptography": ("sora_core.safety",),
}
NO_TORCH = tuple(f"services.video.{name}" for name in ("schemas", "ledger", "scheduler", "autoscale", "api"))
STRANGERS = {
    "services.video.routes": ("services.video.workers",),
    "services.video.intake": ("services.video.workers", "services.video.routes"),
    "services.video.workers": ("services.video.intake", "services.video.routes"),
    "services.video.ledger": tuple(
        f"services.video.{name}" for name in ("config", "intake", "workers", "routes", "webhooks", "accounts")
    ),
}
"""Rooms of the service, and what they know nothing of."""
OWN = ("sora_core", "jobs", "services")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return sorted(path for package in OWN for path in (ROOT / package).rglob("*.py"))


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def floor(module: str) -> int:
    """The floor of a module's room; every job and service lives on the top one."""
    for level, rooms in enumerate(FLOORS):
        if room(module) in rooms:
            return level
    return len(FLOORS)


def is_own(module: str) -> bool:
    return module.split(".")[0] in OWN and "." in module


def inside(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_a_room_imports_only_lower_floors(path: Path) -> None:
    module = module_of(path)
    for target in filter(is_own, imports(path)):
        if room(target) != room(module):
            assert floor(target) < floor(module), f"{module} imports {target}, which is not below it"


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_libraries_stay_behind_their_fences(path: Path) -> None:
    module = module_of(path)
    for library in {target.split(".")[0] for target in imports(path)} & set(LIBRARY_FENCES):
        assert inside(module, LIBRARY_FENCES[library]), f"{module} imports {library}"


@pytest.mark.parametrize("own", STRANGERS)
def test_rooms_of_the_service_know_nothing_of_their_strangers(own: str) -> None:
    for path in (ROOT / own.replace(".", "/")).rglob("*.py"):
        for target in imports(path):
            assert not inside(target, STRANGERS[own]), f"{module_of(path)} imports {target}"


def test_every_room_of_the_core_has_a_floor() -> None:
    known = frozenset().union(*FLOORS)
    rooms = {room(module_of(path)) for path in (ROOT / "sora_core").rglob("*.py")} - {"sora_core"}
    assert rooms <= known, rooms - known


def test_floor_one_imports_the_standard_library_alone() -> None:
    for name in ("errors", "scratch", "shapes", "telemetry"):
        for target in imports(ROOT / "sora_core" / f"{name}.py"):
            top = target.split(".")[0]
            assert top in sys.stdlib_module_names or target.startswith("sora_core.errors"), f"{name} imports {target}"


def reached(module: str) -> Iterator[str]:
    """A module and all of ours that importing it imports."""
    seen: set[str] = set()
    queue = [module]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        for path in files_of(name):
            yield name
            queue += [target for target in imports(path) if is_own(target)]


def files_of(module: str) -> list[Path]:
    stem = module.replace(".", "/")
    return [path for path in (ROOT / f"{stem}.py", ROOT / stem / "__init__.py") if path.exists()]


def test_the_api_and_the_ledger_need_no_torch() -> None:
    for start in NO_TORCH:
        for name in reached(start):
            for path in files_of(name):
                assert "torch" not in {target.split(".")[0] for target in imports(path)}, f"{start} -> {name}"


def test_infra_holds_no_python() -> None:
    assert list((ROOT / "infra").rglob("*.py")) == []


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_modules_say_what_they_are_and_are_no_grab_bags(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "misc", "manager"}
    assert path.stat().st_size == 0 or ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
