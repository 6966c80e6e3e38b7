"""T-06 without a Prometheus: names in dashboard, alerts and OPERATIONS against each other and against the sources."""

import json
import re
import subprocess
import sys

import yaml

from app.core.config import PROJECT_ROOT
from app.core.telemetry.base import BUCKETS
from quality.deploy.prometheus import FOLDER, expressions, metric_names
from tests.fixtures.server import server_environment

SUFFIX = re.compile(r"(_total|(?<!oldest_due)(?<!timestamp)_seconds(_bucket|_count|_sum)?)$")


def test_t_06_every_metric_that_is_named_stands_in_the_sources() -> None:
    sources = "".join(p.read_text("utf-8") for p in (PROJECT_ROOT / "backend/app").rglob("*.py"))

    missing = [name for name in metric_names() if f'"{SUFFIX.sub("", name)}"' not in sources]

    assert missing == []
    assert len(metric_names()) > 10


def test_stack_of_a_developer_evaluates_the_shipped_rules() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yml").read_text("utf-8"))
    mounted = dict(v.split(":")[:2] for v in compose["services"]["observability"]["volumes"])
    configuration = yaml.safe_load((FOLDER / "lgtm.yml").read_text("utf-8"))

    assert [mounted["./deploy/observability/alerts.yml"]] == configuration["rule_files"]
    assert mounted["./deploy/observability/lgtm.yml"] == "/otel-lgtm/prometheus.yaml"


def test_t_06_limits_of_latency_are_buckets() -> None:
    limits = re.findall(r'le="([^"]+)"', " ".join(expressions().values()))

    assert limits
    assert {float(limit) for limit in limits} <= {*BUCKETS}


def symptoms() -> str:
    text = (PROJECT_ROOT / "backend/docs/OPERATIONS.md").read_text("utf-8")
    return text.partition("## Symptoms")[2].partition("\n## ")[0]


def test_commands_that_symptoms_lead_to_exist_with_their_options() -> None:
    commands = set(re.findall(r"app\.cli ([a-z-]+)((?: --[a-z-]+)?)", symptoms()))
    log = re.findall(r'args="app\.log (--[a-z-]+)', symptoms())

    assert {name for name, _ in commands} == {"jobs", "jobs-retry"}
    for name, option in commands:
        assert option.strip() in said("-m", "app.cli", name, "--help")
    assert {*log} == {"--status", "--request-id"}
    assert all(option in said("scripts/export_logs.py", "--help") for option in log)


def said(*command: str) -> str:
    environment = server_environment(COLUMNS="200", NO_COLOR="1", TERM="dumb")
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=PROJECT_ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_records_that_symptoms_name_are_written_somewhere() -> None:
    sources = "".join(p.read_text("utf-8") for p in (PROJECT_ROOT / "backend/app").rglob("*.py"))
    cells = re.findall(r"^\|(?:[^|]*\|){3}(.+)\|$", symptoms(), re.MULTILINE)
    events = {name for cell in cells for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", cell)}

    assert len(events) > 6
    assert [name for name in events if f'"{name}"' not in sources] == []


def test_symptoms_lead_to_panels_and_alerts_that_exist() -> None:
    lines = re.findall(r"^\|(.+)\|$", symptoms(), re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines[2:]]
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    panels = {panel["title"] for panel in dashboard["panels"]}
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}

    named = {alert for row in rows for alert in re.findall(r"`(\w+)`", row[2])}
    shown = {part for row in rows for part in re.split(r", |: \w+$| is empty$", row[1]) if part}

    assert named == alerts
    assert shown <= panels | {""}


def test_t_06_every_alert_is_tried() -> None:
    tried = yaml.safe_load((FOLDER / "alerts_test.yml").read_text("utf-8"))["tests"]
    fired = {
        case["alertname"]
        for test in tried
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }

    assert fired == {name for name in expressions() if name[0].isupper() and " " not in name}
