#!/usr/bin/env bash
# Removes every lab of this checkout: hosts, bridges, images, keys, secrets, caches. Needs no more than
# the engine's client, so that it works on a half-built lab too.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
if docker info >/dev/null 2>&1; then
  docker ps -aq --filter label=renfo.lab | xargs -r docker rm -f -v >/dev/null
  docker network ls -q --filter name=renfo- | xargs -r docker network rm >/dev/null
  docker images -q 'renfo-lab/*' | sort -u | xargs -r docker rmi -f >/dev/null
else
  echo "No Docker engine answers: there may be hosts left in it. Start it and run this again." >&2
fi
# Their masters hold connections to hosts that are gone.
pkill -f 'ssh: .*/\.ansible/cp/.*\[mux\]' 2>/dev/null
rm -rf .cache .ansible build inventories/lab/.secrets
rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .venv
find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
echo "Nothing of the lab is left."
