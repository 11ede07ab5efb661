"""The jobs of Sora on Ray: one folder a job, each run as ``python -m jobs.<name> --config FILE.toml``."""
