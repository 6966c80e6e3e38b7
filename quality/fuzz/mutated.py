"""Right requests with mutated bytes: one bit of a token (A-19), then everything of everything."""

from collections.abc import Iterator

from quality.fuzz.cases import Case, flipped_tokens, mutated, unspoiled
from quality.fuzz.corpus import Sample, corpus
from quality.fuzz.raw import Findings, send_all
from quality.fuzz.target import Target
from quality.testkit.memory import resident_mib
from quality.testkit.report import Report

SHOWN = 5  # findings of one kind
SHOWN_BYTES = 2_000
GROWTH_MIB = 32.0
MOST = 0.6
UNREAD = ("405", "408", "411", "413", "414", "415", "431")
WARM_UP = 10  # a tenth of the mutations, after which the memory is expected to stay


async def fuzz_mutated(report: Report, target: Target, mutations: int, flips: int) -> None:
    samples = await corpus(target)
    await refuse_none(report, target, samples, "before")
    await spoil_tokens(report, target, flips)
    await spoil_everything(report, target, samples, mutations)
    # What the samples were about may be gone: some delete, and others were mutated into that.
    await refuse_none(report, target, await corpus(target), "after")


async def refuse_none(report: Report, target: Target, samples: list[Sample], when: str) -> None:
    """What is not mutated is read: else the mutations would begin with what is wrong already.

    The values may still be wrong: an admin's route for a user, a link that was mailed to nobody.
    """
    findings = await send_all(target, enumerate(unspoiled(samples, when)))
    show(findings)
    unread = sum(findings.seen[status] for status in UNREAD)
    report.exactly(f"raw: right requests that were not read {when}", 0, unread)
    accepted = sum(findings.seen[status] for status in ("200", "201", "202", "204"))
    report.row(
        f"raw: right requests accepted {when}",
        f">= {MOST:.0%} of {len(samples)}",
        str(accepted),
        kept=accepted >= MOST * len(samples),
    )


async def spoil_tokens(report: Report, target: Target, flips: int) -> None:
    cases = list(flipped_tokens(target, flips))
    findings = await send_all(target, enumerate(cases))
    show(findings)
    report.exactly(f"A-19: findings in {len(cases):,} tokens", 0, len(findings.faults))


async def spoil_everything(
    report: Report, target: Target, samples: list[Sample], mutations: int
) -> None:
    def cases(first: int, last: int) -> Iterator[tuple[int, Case]]:
        return ((number, mutated(target.seed, number, samples)) for number in range(first, last))

    warm = mutations // WARM_UP
    findings = await send_all(target, cases(0, warm))
    before = resident_mib(target.server.process.pid)
    findings += await send_all(target, cases(warm, mutations))
    growth = resident_mib(target.server.process.pid) - before
    show(findings, f'make fuzz args="--seed {target.seed} --case {{number}}"')
    responses = ", ".join(f"{status}: {count:,}" for status, count in sorted(findings.seen.items()))
    print(f"raw: answered {responses}")
    report.exactly(f"raw: findings in {mutations:,} mutated requests", 0, len(findings.faults))
    report.at_most("raw: memory grown after the first tenth", GROWTH_MIB, growth, "MiB")


async def replay(target: Target, number: int) -> int:
    """Send one mutated request again; 1 if it is still a finding."""
    case = mutated(target.seed, number, await corpus(target))
    findings = await send_all(target, [(number, case)])
    print(f"{case.name}\n{case.raw!r}\nanswered {dict(findings.seen)}")
    show(findings)
    return int(bool(findings.faults))


def show(findings: Findings, again: str = "") -> None:
    for number, case, complaint in findings.faults[:SHOWN]:
        print(f"\ncase {number}: {case.name}\n  {complaint}\n  {case.raw[:SHOWN_BYTES]!r}")
        if again:
            print(f"  again: {again.format(number=number)}")
    if len(findings.faults) > SHOWN:
        print(f"\nand {len(findings.faults) - SHOWN} more")
