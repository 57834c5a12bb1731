#!/usr/bin/env bash
# Builds the image of a lab host: image.sh RELEASE (trixie or bookworm).
# The base is pulled where a registry can be reached, and bootstrapped from Debian's archive
# elsewhere. The tag carries a digest of its recipe, so a changed recipe builds a new image.
set -euo pipefail
cd "$(dirname "$0")"

release=$1
# The week is part of the recipe: package lists in the image must not go stale.
recipe=$(cat Dockerfile image.sh publish/* disk/* | cat - <(date +%G-%V) | sha256sum | cut -c1-12)
image=renfo-lab/$release:$recipe

if ! docker image inspect "$image" >/dev/null 2>&1; then
  base=debian:$release-slim
  if ! docker image inspect "$base" >/dev/null 2>&1 && ! timeout 60 docker pull -q "$base" 2>/dev/null; then
    echo "No image registry answers: bootstrapping Debian $release from its archive" >&2
    base=renfo-lab/base-$release:latest
    if ! docker image inspect "$base" >/dev/null 2>&1; then
      if ! command -v mmdebstrap >/dev/null; then
        if [ "$(id -u)" -ne 0 ]; then
          echo "mmdebstrap is needed to bootstrap the image: apt-get install mmdebstrap" >&2
          exit 1
        fi
        apt-get update -q >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends mmdebstrap >&2
      fi
      mmdebstrap --quiet --variant=minbase --include=ca-certificates "$release" - | docker import - "$base" >&2
    fi
  fi
  docker build -q --build-arg BASE="$base" -t "$image" . >&2
fi
docker tag "$image" "renfo-lab/$release:current"
