#!/usr/bin/env bash
# fence.sh CONTAINER: what a power switch does for a real host. Ends with 0 only when the container is off.
set -euo pipefail
container=${1:?name the container to switch off}
docker kill "$container" >/dev/null 2>&1 || true
running=$(docker inspect --format '{{.State.Running}}' "$container")
[ "$running" = false ] || { echo "$container still runs" >&2; exit 1; }
