"""The set-up as a newcomer meets it: a small index of wheels made here, and a machine that lacks something."""

import os
import shutil
import subprocess
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = f"other==1.0\nsetuptools=={metadata.version('setuptools')}\ntorch==2.0\n"
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "small"
version = "1"
[tool.setuptools]
packages = []
"""
AVX2 = "flags : fpu sse avx avx2 bmi2\n"


def add_wheel(index: Path, name: str, files: dict[str, bytes]) -> None:
    """A wheel of these files, on its page of a simple index."""
    folder = index / name
    folder.mkdir(parents=True)
    version = next(iter(files)).partition("-")[2].partition(".dist-info")[0]
    file = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / file, "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
    (folder / "index.html").write_text(f'<a href="{file}">{file}</a>')


def made(name: str, version: str, requires: str = "", body: bytes = b"") -> dict[str, bytes]:
    info = f"{name}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (requires and f"Requires-Dist: {requires}\n")
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return {
        f"{info}/METADATA": about.encode(),
        f"{info}/WHEEL": tags,
        f"{info}/RECORD": b"",
        f"{name}.py": body,
    }


def of_this_environment(name: str) -> dict[str, bytes]:
    """The files of an installed package, its facts first."""
    files = [file for file in metadata.distribution(name).files or () if file.suffix != ".pyc"]
    files.sort(key=lambda file: ".dist-info" not in str(file))
    return {str(file): Path(str(file.locate())).read_bytes() for file in files if ".." not in file.parts}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the set-up, a lock of three packages and an index, on a machine that can do it all."""
    folder = checkout(tmp_path_factory.mktemp("checkout"))
    (folder / "requirements.lock").write_text(LOCK)
    (folder / "pyproject.toml").write_text(PROJECT)
    index = folder / "index"
    add_wheel(index, "torch", made("torch", "2.0", "units>=1"))
    add_wheel(index, "units", made("units", "1.5"))
    add_wheel(index, "other", made("other", "1.0", "never-installed", body=b"#" * 300_000))
    add_wheel(index, "setuptools", of_this_environment("setuptools"))
    machine(folder, AVX2, 16)
    return folder


def checkout(folder: Path) -> Path:
    (folder / "infra").mkdir()
    shutil.copy(ROOT / "infra" / "setup.sh", folder / "infra")
    return folder


def machine(folder: Path, processor: str, memory_gib: float) -> None:
    (folder / "proc").mkdir(exist_ok=True)
    (folder / "proc" / "cpuinfo").write_text(processor)
    (folder / "proc" / "meminfo").write_text(f"MemTotal: {int(memory_gib * 2**20)} kB\n")


def set_up(folder: Path, *arguments: str, before: str = "true", **variables: str) -> subprocess.CompletedProcess[str]:
    """``infra/setup.sh`` with pip's settings of this machine put aside; ``before`` runs in the same shell."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"file://{folder}/index",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "1",
        "PROC": str(folder / "proc"),
    }
    command = ["bash", "-c", f'{before}; exec bash {folder}/infra/setup.sh "$@"', "-", *(arguments or ["install"])]
    return subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=False)


def has(folder: Path, module: str) -> bool:
    command = [folder / ".venv/bin/python", "-c", f"import {module}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_what_stops_the_setup_is_one_line_and_the_next_one_goes_on(project: Path) -> None:
    """An index out of reach, a wheel that isn't there, a full disk; then it ends well, with what torch asks for."""
    away = set_up(project, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert (away.returncode, away.stderr.count("\n")) == (1, 1)
    assert "can't be reached" in away.stderr

    units = project / "index" / "units"
    units.rename(project / "units")
    missing = set_up(project)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "has no units>=1 for Linux" in missing.stderr
    (project / "units").rename(units)

    full = set_up(project, before="ulimit -f 150")  # blocks of 1024 bytes: as a full disk, but for this process alone
    assert (full.returncode, full.stderr.count("\n")) == (1, 1)
    assert "disk is full" in full.stderr
    assert not (project / ".venv/ready").exists()

    # As pip leaves it when a later package of the same call fails: the old files are back beside the new record.
    (next(project.glob(".venv/lib/*/site-packages/torch.py"))).unlink()
    done = set_up(project)
    assert (done.returncode, done.stderr) == (0, "")
    assert (project / ".venv/ready").exists()
    assert all(has(project, module) for module in ("torch", "units", "other", "setuptools"))
    assert not (project / ".venv/lib/never-installed").exists()
    assert (project / ".venv/setup.log").read_text().count("Successfully installed small") == 1


@pytest.mark.parametrize(
    ("processor", "memory_gib", "disk_gib", "said"),
    [
        ("flags : fpu sse avx\n", 16, 0, "no AVX2"),
        (AVX2, 5.5, 0, "8 GiB of memory, and this machine has 5.5"),
        (AVX2, 16, 10**6, "1000000 GiB of free disk"),
    ],
)
def test_what_a_machine_lacks_is_said_before_anything_is_installed(
    tmp_path: Path, processor: str, memory_gib: float, disk_gib: int, said: str
) -> None:
    machine(checkout(tmp_path), processor, memory_gib)
    told = set_up(tmp_path, "machine", "8", str(disk_gib))
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    assert said in told.stderr
    anyway = set_up(tmp_path, "machine", "8", str(disk_gib), ANYWAY="1")
    assert (anyway.returncode, anyway.stderr) == (0, "")


def test_a_machine_with_enough_is_told_nothing(tmp_path: Path) -> None:
    """7.6 GiB is what a machine sold with eight shows."""
    machine(checkout(tmp_path), AVX2, 7.6)
    told = set_up(tmp_path, "machine", "8", "0")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_a_python_that_has_no_wheels_is_refused(tmp_path: Path) -> None:
    machine(checkout(tmp_path), AVX2, 16)
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    told = set_up(tmp_path, PYTHON=str(old))
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    assert "Python 3.11, 3.12 or 3.13 is needed" in told.stderr


def test_the_image_is_set_up_alike_and_its_user_is_not_root() -> None:
    lines = (ROOT / "infra" / "docker" / "Dockerfile").read_text().splitlines()
    assert "RUN bash infra/setup.sh install" in lines
    assert not any("pip install" in line for line in lines)
    users = [line.removeprefix("USER ") for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")
