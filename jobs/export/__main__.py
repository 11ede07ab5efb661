"""``python -m jobs.export --set checkpoint=URI output=URI``: writes ``output/transformer`` in diffusers' layout."""

from jobs.export.export import ExportConfig, export
from jobs.launch import run

if __name__ == "__main__":
    run("export", ExportConfig, export)
