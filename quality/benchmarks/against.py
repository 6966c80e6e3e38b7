"""This state against another commit, in turns: ``make bench args="--against HEAD~5"``. Ends with code 1 above 3 %."""

import argparse
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from quality.benchmarks.compare import Pair, Scenario, play, print_pair
from quality.testkit.report import Report
from quality.testkit.server import ROOT, serving

MOST_LOST = 0.03


@contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path]:
    """The tree of a commit, for as long as the block runs."""
    tree = folder / "before"
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


async def measure_against(
    report: Report,
    folder: Path,
    scenarios: list[Scenario],
    environments: Mapping[str, dict[str, str]],
    options: argparse.Namespace,
) -> None:
    """Each scenario on both trees, with the packages of this environment; the migrations are those of this tree."""
    with checkout(options.against, folder) as tree:
        for scenario in scenarios:
            environment = environments[scenario.server]
            before = {**environment, "PYTHONPATH": str(tree / "backend")}
            pair = Pair(replace(scenario, limit_request=scenario.request, baseline="limit"))
            async with AsyncExitStack() as stack:
                servers = {
                    "limit": await stack.enter_async_context(serving(folder, before)),
                    scenario.server: await stack.enter_async_context(serving(folder, environment)),
                }
                for number in range(-1, options.rounds):
                    await play(pair, servers, options.seconds if number >= 0 else 1, number)
            print_pair(pair, f"  {options.against}")
            ratio = max(pair.ratio(), pair.cpu_ratio())
            report.row(
                f"{scenario.name}: requests/s or CPU, share of {options.against}",
                f">= {1 - MOST_LOST:g}",
                f"{ratio:.3f}",
                kept=ratio >= 1 - MOST_LOST,
            )
