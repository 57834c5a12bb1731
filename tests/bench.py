"""Prints the figures of ``make bench``: medians of one run, as seconds and as ratios."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = 3


def timed(*command: str) -> tuple[float, str]:
    """Seconds that *command* took, and its output; ends the benchmark if it fails."""
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return time.monotonic() - began, done.stdout


def main() -> None:
    """Measure and print."""
    os.environ["ANSIBLE_NOCOLOR"] = "1"
    binaries, inventory = ROOT / ".venv/bin", "inventories/lab"
    stages = [line.split("\t") for line in (ROOT / ".cache/lab/bench.stages").read_text().splitlines()]

    ping = (str(binaries / "ansible"), "-i", inventory, "all", "-m", "ansible.builtin.ping")
    site = (str(binaries / "ansible-playbook"), "-i", inventory, "playbooks/site.yml")
    status = (str(binaries / "ansible-playbook"), "-i", inventory, "playbooks/status.yml")
    timed(*ping)  # opens the connections
    pings, sites, statuses, output = [], [], [], ""
    for _ in range(RUNS):
        pings.append(timed(*ping)[0])
        seconds, output = timed(*site)
        sites.append(seconds)
        statuses.append(timed(*status)[0])
    recap = re.findall(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)", output, flags=re.MULTILINE)

    print("\nmake demo from nothing")
    for title, seconds in stages:
        print(f"{float(seconds):8.1f} s  {title}")
    print(f"{sum(float(seconds) for _, seconds in stages):8.1f} s  in all")
    floor = statistics.median(pings)
    print(f"\nno change, {len(recap)} hosts, median of {RUNS}")
    for title, values in (("ansible all -m ping", pings), ("site.yml", sites), ("status.yml", statuses)):
        median = statistics.median(values)
        print(
            f"{median:8.1f} s  {median / floor:5.1f} x ping  {title}  ({', '.join(f'{value:.1f}' for value in values)})"
        )
    print("\ntasks executed by site.yml without a change")
    for host, tasks, changed in recap:
        print(f"{int(tasks):8d}    {host} (changed {changed})")


if __name__ == "__main__":
    main()
