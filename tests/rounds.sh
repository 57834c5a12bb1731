#!/usr/bin/env bash
# make rounds: what takes longer than CI has time for, on the test lab: a cluster of two, a host more and less, many
# handovers, the controller killed at every step of one and of a deployment, a primary lost in every way, a short load test,
# the modules' own targets, updates with a reboot of every host, a rotation of everything with a controller that dies, and a
# site that was rebuilt from its backups converged again.
set -euo pipefail
cd "$(dirname "$0")/.."
export LAB_NAME=test HANDOVERS=20 EVERY_STEP=1
lab/setup.sh requirements.txt requirements-dev.txt requirements-drill.txt
lab/demo.sh
.venv/bin/python -m pytest -q tests/testinfra/rounds
.venv/bin/python -m pytest -q tests/testinfra/failover -k nothing_acknowledged
.venv/bin/python -m pytest -q tests/testinfra/deploy
.venv/bin/python -m pytest -q tests/testinfra/loadtest
.venv/bin/python -m pytest -q tests/testinfra/safe/test_firewall.py
.venv/bin/python -m pytest -q tests/testinfra/modules
.venv/bin/python -m pytest -q -s tests/testinfra/update
.venv/bin/python -m pytest -q tests/testinfra/disaster -k "rehearsal or changes_nothing"
.venv/bin/python -m pytest -q tests/testinfra/rotate -k "refused or dies"
.venv/bin/python -m pytest -q -s tests/testinfra/switchover -k "there_and_back or test_interrupted"
