#!/usr/bin/env bash
# make bench: how long things take here, from one run. A lab of its own, built by a fresh clone of the
# committed tree: nothing of this checkout (packages, image, secrets) helps it.
set -euo pipefail
cd "$(dirname "$0")/.."
export LAB_NAME=bench
checkout=$PWD/.cache/bench/checkout
log=$PWD/.cache/bench/demo.log
# The last rehearsal's report lies here, not in the clone.
export DISASTER=${DISASTER:-$PWD/disaster-report}

rm -rf .cache/bench
mkdir -p .cache/bench
git clone -q . "$checkout"
cd "$checkout"
remove() { LAB_NAME=bench .venv/bin/ansible-playbook -i inventories/lab lab/down.yml >/dev/null 2>&1 || true; }
trap remove EXIT
# Untagged, not removed: another lab may run on it.
docker images -q 'renfo-lab/*' 2>/dev/null | sort -u | xargs -r docker rmi -f >/dev/null 2>&1 || echo "(some images are in use)"

echo "Building the lab 'bench' from nothing (log: $log)"
make demo >"$log" 2>&1 || { tail -n 40 "$log" >&2; exit 1; }
.venv/bin/python tests/bench.py
# The client that writes through it all is the tests' own.
lab/setup.sh requirements.txt requirements-dev.txt
.venv/bin/python -m tests.bench_handover
.venv/bin/python -m tests.bench_backup
