"""Every alert fires when it shall, is silent when it shall be, and says what to do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sora_core import telemetry

from .exporter import names

ROOT = Path(__file__).parents[2]
RULES = ROOT / "infra" / "prometheus" / "rules"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for path in RULES.glob("*.yml")
    if not path.name.endswith(".test.yml")
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
}
WORD = re.compile(r"\b(?:ray_)?sora_\w+")
PAGES = (ROOT / "docs" / "RUNBOOKS.md").read_text()


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool here, the alerts are not tried: apt-get install prometheus")
    return subprocess.run([program, *arguments], cwd=RULES, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_promtool_finds_that_each_alert_fires_and_is_silent_as_its_cases_say() -> None:
    ran = promtool("test", "rules", *(path.name for path in RULES.glob("*.test.yml")))
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
def test_prometheus_takes_the_config_with_its_rules() -> None:
    ran = promtool("check", "config", "../prometheus.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(ALERTS)} rules found" in ran.stdout


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    worlds = [world for path in RULES.glob("*.test.yml") for world in yaml.safe_load(path.read_text())["tests"]]
    cases = [case for world in worlds for case in world["alert_rule_test"] if case["alertname"] == name]
    assert {bool(case["exp_alerts"]) for case in cases} == {True, False}


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_links_to_a_page_that_says_what_it_means_and_what_to_do(name: str) -> None:
    address, _, heading = ALERTS[name]["annotations"]["runbook_url"].partition("#")
    assert (address, heading) == ("docs/RUNBOOKS.md", name.lower())
    page = PAGES.split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert page.startswith(f"Severity {ALERTS[name]['labels']['severity']}. ")
    assert "\nLook at:\n- " in page
    assert "\nDo:\n- " in page


def test_the_runbooks_tell_of_no_alert_that_is_gone() -> None:
    assert set(re.findall(r"^## (\w+)$", PAGES, re.MULTILINE)) == set(ALERTS)


def test_alerts_ask_only_for_metrics_that_are_declared() -> None:
    declared = set().union(*(names(metric) for metric in telemetry.catalogue().values()))
    asked = {name for rule in ALERTS.values() for name in WORD.findall(rule["expr"])}
    assert asked <= declared, asked - declared
