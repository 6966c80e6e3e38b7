"""T-06 without a Prometheus: names in dashboard, alerts and OPERATIONS against each other and against the sources."""

import json
import re

import yaml

from app.core.config import PROJECT_ROOT
from app.core.telemetry.base import BUCKETS
from quality.deploy.prometheus import FOLDER, expressions, metric_names

SUFFIX = re.compile(r"(_total|(?<!oldest_due)_seconds(_bucket|_count|_sum)?)$")


def test_every_metric_that_is_named_stands_in_the_sources() -> None:
    sources = "".join(p.read_text("utf-8") for p in (PROJECT_ROOT / "backend/app").rglob("*.py"))

    missing = [name for name in metric_names() if f'"{SUFFIX.sub("", name)}"' not in sources]

    assert missing == []
    assert len(metric_names()) > 10


def test_limits_of_latency_are_buckets() -> None:
    limits = re.findall(r'le="([^"]+)"', " ".join(expressions().values()))

    assert limits
    assert {float(limit) for limit in limits} <= {*BUCKETS}


def test_symptoms_lead_to_panels_and_alerts_that_exist() -> None:
    text = (PROJECT_ROOT / "backend/docs/OPERATIONS.md").read_text("utf-8")
    section = text.partition("## Symptoms")[2].partition("\n## ")[0]
    lines = re.findall(r"^\|(.+)\|$", section, re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines[2:]]
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    panels = {panel["title"] for panel in dashboard["panels"]}
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}

    named = {alert for row in rows for alert in re.findall(r"`(\w+)`", row[2])}
    shown = {part for row in rows for part in re.split(r", |: \w+$| is empty$", row[1]) if part}

    assert named == alerts
    assert shown <= panels | {""}


def test_every_alert_is_tried() -> None:
    tried = yaml.safe_load((FOLDER / "alerts_test.yml").read_text("utf-8"))["tests"]
    fired = {
        case["alertname"]
        for test in tried
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }

    assert fired == {name for name in expressions() if name[0].isupper() and " " not in name}
