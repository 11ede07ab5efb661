"""Every benchmark there is and what it takes: ``make bench`` lists them, ``make bench NAME=plan`` runs one.

``ARGS="..."`` are its arguments. A benchmark is a module of this folder that can be run; its docstring begins with what
it tells, and then with the command that says what it takes.
"""

import ast
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def benchmarks() -> dict[str, str]:
    """The docstring of each benchmark by its name, which is its module's without the folder's."""
    found = {}
    for path in sorted(HERE.rglob("*.py")):
        text = path.read_text()
        if path != Path(__file__) and 'if __name__ == "__main__":' in text:
            name = ".".join(path.relative_to(HERE).with_suffix("").parts).removesuffix(".__main__")
            found[name] = ast.get_docstring(ast.parse(text)) or ""
    return found


def listing() -> str:
    """All of them: name, what it tells, and the paragraph that says how it is called and what it takes."""
    parts = ["make bench NAME=... [ARGS=...] runs one of these:"]
    for name, text in benchmarks().items():
        about, _, usage = text.partition("\n\n")
        lines = usage.partition("\n\n")[0].splitlines()
        parts.append("\n".join([f"{name}: {' '.join(about.split())}", *(f"    {line}" for line in lines)]))
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> None:
    """List them, or run the one that is named with the arguments that follow."""
    if not arguments:
        print(listing())
        return
    name = arguments[0].removeprefix("benchmarks.")
    if name not in benchmarks():
        sys.exit(f"NAME={name}: no such benchmark; there are {', '.join(benchmarks())}")
    module = f"benchmarks.{name}"
    sys.argv = [module, *arguments[1:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
