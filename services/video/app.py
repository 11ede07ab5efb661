"""The service as a Serve application: ``serve run services.video.app:build`` or ``serve deploy``."""

from ray.serve import Application

from services.video.config import ServiceConfig
from services.video.deployments import application


def build(args: ServiceConfig) -> Application:
    """The application of a config; ConfigError or StorageError, with the remedy, for one that can't work."""
    return application(args.with_environment_keys())
