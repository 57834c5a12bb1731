#!/usr/bin/env bash
# make test: run.sh [lint|unit|scenarios ...]; all three by default.
set -euo pipefail
cd "$(dirname "$0")/.."
export LAB_NAME=test
: "${LAB_RELEASE:=trixie}"
export LAB_RELEASE
STAGES=.cache/lab/tests.stages
FAILURES=.cache/lab/failures.txt
SCENARIOS=.cache/lab/scenarios.log
. lab/stages.sh

unit() {
  # The application's and the modules' tests run against real servers and real snapshots, alerts are judged by promtool.
  if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || ! command -v restic >/dev/null ||
    ! command -v promtool >/dev/null; then
    if [ "$(id -u)" -ne 0 ]; then
      echo "The unit tests need the programs of PostgreSQL, restic and Prometheus." >&2
      echo "Run: sudo apt-get install postgresql restic prometheus" >&2
      return 1
    fi
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql restic prometheus
  fi
  .venv/bin/python -m pytest -q -n 4 tests/unit
}

prepare_lab() {
  # `stage` turns errexit off in here: every failure is returned by hand.
  lab/engine.sh || return
  # What an interrupted run left behind is no place to begin.
  .venv/bin/ansible-playbook -i inventories/lab lab/down.yml >/dev/null || return
  # Else molecule believes that the hosts are still there.
  molecule reset >/dev/null 2>&1 || return
  lab/image.sh "$LAB_RELEASE" || return
  lab/release.sh ".cache/lab/$LAB_NAME/renfo_app.tar.gz"
}

molecule() {
  PATH=$PWD/.venv/bin:$PATH .venv/bin/molecule "$@"
}

scenarios() {
  molecule test --all 2>&1 | tee "$SCENARIOS"
}

# Each task that failed outside of a test, from its name on: where molecule stopped, or a playbook of its own.
failed_tasks() {
  [ ! -s "$SCENARIOS" ] || awk '
    function show() { if (failed) printf "%s", task; task = ""; lines = failed = 0 }
    /TASK \[|PLAY RECAP/ { show() }
    /fatal: |failed: / { failed = 1 }
    lines++ < 25 { task = task "    " substr($0, 1, 500) "\n" }
    END { show() }
  ' "$SCENARIOS"
}

finish() {
  local rc=$?
  stages_end
  # Last of all, for molecule's own summary says neither which test failed nor which task.
  [ "$rc" -eq 0 ] || failed_tasks >>"$FAILURES"
  if [ -s "$FAILURES" ]; then
    printf '\n\033[31mFailed:\033[0m\n'
    cat "$FAILURES"
  fi
}

stages_begin
rm -f "$FAILURES" "$SCENARIOS"
trap finish EXIT
stage "Prepare the controller" lab/setup.sh requirements.txt requirements-dev.txt requirements-drill.txt
for part in "${@:-lint unit scenarios}"; do
  for name in $part; do
    case $name in
      lint) stage "Lint" tests/lint.sh ;;
      unit) stage "Unit tests" unit ;;
      scenarios)
        stage "Prepare the test lab" prepare_lab
        stage "Scenarios on the test lab" scenarios
        ;;
      *) echo "run.sh: unknown part $name, expected lint, unit or scenarios" >&2; exit 2 ;;
    esac
  done
done
