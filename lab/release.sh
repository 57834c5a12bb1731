#!/usr/bin/env bash
# Packs the reference application into a release archive, the same bytes for the same files:
# release.sh ARCHIVE
set -euo pipefail
archive=$(realpath -m "$1")
mkdir -p "$(dirname "$archive")"
cd "$(dirname "$0")/../examples/renfo_app"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
  --exclude='./.?*' --exclude=__pycache__ --exclude='*.pyc' -cf - . | gzip -n -9 > "$archive.new"
mv "$archive.new" "$archive"
