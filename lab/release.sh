#!/usr/bin/env bash
# Packs the reference application into a release archive, the same bytes for the same files:
# release.sh ARCHIVE [--broken]
# With --broken one that starts and never gets ready, for a drill.
set -euo pipefail
archive=$(realpath -m "$1")
mkdir -p "$(dirname "$archive")"
cd "$(dirname "$0")/../examples/renfo_app"
if [ "${2:-}" = --broken ]; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp -r . "$copy"
  cd "$copy"
  printf 'def app(environ, start_response):\n    start_response("503 Service Unavailable", [])\n    return [b"never"]\n' >renfo_app/wsgi.py
fi
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
  --exclude='./.?*' --exclude=__pycache__ --exclude='*.pyc' -cf - . | gzip -n -9 > "$archive.new"
mv "$archive.new" "$archive"
