#!/usr/bin/env bash
# make rounds: what takes longer than CI has time for, on the test lab: a cluster of two, a host more and less, many
# handovers, the controller killed at every step of one and of a deployment, a primary lost in every way, what must be seen
# as a loss, a short load test, a drill whose faults must be told of, the modules' own targets, updates with a reboot of
# every host, a rotation of everything with a controller that dies, the application in containers and back, everything on
# one host, and a site that was rebuilt from its backups converged again.
set -euo pipefail
cd "$(dirname "$0")/.."
export LAB_NAME=test HANDOVERS=20 EVERY_STEP=1
lab/setup.sh requirements.txt requirements-dev.txt requirements-drill.txt
lab/demo.sh
for tests in rounds drill failover operate deploy container loadtest safe modules update rotate switchover restore single; do
  .venv/bin/python -m pytest -q -s "tests/testinfra/$tests"
done
.venv/bin/python -m pytest -q -s tests/testinfra/monitoring -k drill
.venv/bin/python -m pytest -q tests/testinfra/disaster -k "rehearsal or changes_nothing"
