#!/usr/bin/env bash
# From an empty machine to a working site: make demo.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${LAB_NAME:=demo}" "${LAB_RELEASE:=trixie}"
export LAB_NAME LAB_RELEASE
STAGES=.cache/lab/$LAB_NAME.stages
. lab/stages.sh

# The machine's own two halves don't need each other: Python packages here, engine and image there.
prepare() {
  local log=.cache/lab/image.log
  mkdir -p .cache/lab
  (lab/engine.sh && lab/image.sh "$LAB_RELEASE") >"$log" 2>&1 &
  local image=$!
  # `stage` turns errexit off in here: every failure is returned by hand.
  lab/setup.sh requirements.txt || return
  if ! wait "$image"; then
    cat "$log" >&2
    return 1
  fi
}

playbook() { .venv/bin/ansible-playbook -i inventories/lab "$@"; }

stages_begin
stage "Prepare the controller: Python packages, container engine, host image" prepare
stage "Bring up the hosts of the lab $LAB_NAME" lab/hosts.sh
stage "Converge the site" playbook playbooks/site.yml
stage "Show the status" playbook playbooks/status.yml
stages_end
port=$(sed -n "s/^  $LAB_NAME: .*https_port: \([0-9]*\).*/\1/p" inventories/lab/group_vars/all/lab.yml)
cat <<END

The site is up: https://127.0.0.1:$port/
Its certificate comes from the lab's own CA, so the browser will ask. Next:

  .venv/bin/ansible-playbook -i inventories/lab playbooks/status.yml    look at every part
  make clean                                                            remove the lab
END
