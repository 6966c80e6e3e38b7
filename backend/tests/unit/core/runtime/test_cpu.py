"""Processors are counted as the container may use them, not as the machine has them."""

import os
from pathlib import Path

import pytest

from app.core.resources import build_resources
from app.core.runtime import cpu
from tests.fixtures.env import make_settings


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Sixteen processors and no limit; the folder is where the kernel would tell of one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(cpu, "CGROUP", tmp_path)
    return tmp_path


class TestUsableCpus:
    def test_cpus_without_a_limit_are_all(self, machine: Path) -> None:
        assert cpu.usable_cpus() == 16

    @pytest.mark.parametrize(
        ("text", "cpus"),
        [
            ("200000 100000", 2),
            ("50000 100000", 0.5),
            ("max 100000", 16),
            ("9900000 100000", 16),
            ("", 16),
        ],
    )
    def test_cpus_are_bounded_by_cgroup_v2(self, machine: Path, text: str, cpus: float) -> None:
        (machine / "cpu.max").write_text(f"{text}\n")

        assert cpu.usable_cpus() == cpus

    @pytest.mark.parametrize(("quota", "cpus"), [("400000", 4), ("-1", 16), ("x", 16)])
    def test_cpus_are_bounded_by_cgroup_v1(self, machine: Path, quota: str, cpus: float) -> None:
        (machine / "cpu").mkdir()
        (machine / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (machine / "cpu" / "cpu.cfs_period_us").write_text("100000\n")

        assert cpu.usable_cpus() == cpus

    def test_cpus_are_bounded_by_affinity(
        self, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})

        assert cpu.usable_cpus() == 1


class TestHashingThreads:
    @pytest.mark.parametrize(
        ("quota", "processes", "threads"),
        [("max", 1, 15), ("max", 4, 3), ("200000", 1, 1), ("200000", 4, 1), ("50000", 1, 1)],
    )
    async def test_hashing_threads_are_the_share_of_a_process_less_one(
        self, machine: Path, quota: str, processes: int, threads: int
    ) -> None:
        (machine / "cpu.max").write_text(f"{quota} 100000")

        resources = build_resources(make_settings(web_concurrency=processes))

        assert resources.password_executor.workers == threads

    async def test_hashing_threads_are_as_many_as_the_settings_say(self, machine: Path) -> None:
        resources = build_resources(make_settings(password_hash_workers=5))

        assert resources.password_executor.workers == 5
