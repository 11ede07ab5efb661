"""``serve deploy`` as an operator runs it, and the wait until the API answers."""

import subprocess
import time
import urllib.request
from pathlib import Path

import yaml

from jobs.demo.cluster import LocalCluster, program
from jobs.progress import say
from sora_core.errors import SoraError

ROOT = Path(__file__).parents[2]


def deploy(
    cluster: LocalCluster, folder: Path, *, port: int, checkpoint_uri: str, output: str, data_uri: str, run_uri: str
) -> str:
    """``serve deploy`` of the service's own file with this machine's places filled in; returns the API's URL. The
    studio shows the curated set and the run to the demo's key."""
    settings = yaml.safe_load((ROOT / "services" / "video" / "serve.yaml").read_text())
    settings["http_options"] |= {"host": "127.0.0.1", "port": port}
    settings["applications"][0]["args"] |= {
        "checkpoint": checkpoint_uri, "output": output, "ledger": f"sqlite:///{folder / 'ledger.sqlite'}",
        "api": {"viewers": ["demo"]}, "studio": {"footage": {"demo": data_uri}, "training": {"demo": run_uri}},
        "webhooks": {"outbound": {"allowed_networks": ["127.0.0.0/8"]}},  # so that they can be tried on this machine
    }  # fmt: skip
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    command = [program("serve"), "deploy", "--address", cluster.dashboard_url, str(path)]
    subprocess.run(command, env=cluster.environment, check=True)
    url = f"http://127.0.0.1:{port}/v1"
    _wait_until_ready(cluster, url)
    return url


def _wait_until_ready(cluster: LocalCluster, url: str, timeout_s: float = 120.0) -> None:
    """Wait until every deployment answers. SoraError with Serve's own message when one can't start."""
    command = [program("serve"), "status", "--address", cluster.dashboard_url]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        shown = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False)
        applications = (yaml.safe_load(shown.stdout) or {}).get("applications", {}) if shown.returncode == 0 else {}
        states = {application["status"] for application in applications.values()}
        if states == {"RUNNING"} and _answers(url):
            say(f"the API answers at {url}")
            return
        if "DEPLOY_FAILED" in states:
            raise SoraError(f"serve deploy failed:\n{shown.stdout}")
        time.sleep(0.5)
    raise SoraError(f"{url} didn't come up in {timeout_s:.0f} s; see the Serve page of {cluster.dashboard_url}")


def _answers(url: str) -> bool:
    """Whether the proxy takes requests: its deployments may be ready before it is."""
    try:
        with urllib.request.urlopen(url.replace("/v1", "/-/healthz"), timeout=5):
            return True
    except OSError:
        return False
