"""Checks of deploy/: manifests, alerts and dashboard; releases under load; backups; migrations."""
