#!/usr/bin/env bash
# Makes sure a Docker engine answers: installs Debian's where there is none, starts it where
# systemd is not PID 1, and takes over what a killed engine left behind.
set -euo pipefail

answers() { docker info >/dev/null 2>&1; }

answers && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "No Docker engine answers to user $(id -un)." >&2
  echo "Start one and join its group (usermod -aG docker $(id -un)), or run this command as root." >&2
  exit 1
fi

if ! command -v dockerd >/dev/null || ! command -v iptables >/dev/null; then
  echo "Installing Docker Engine from Debian"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends docker.io iptables
fi

if [ -d /run/systemd/system ]; then
  systemctl start docker.service
else
  # A killed engine leaves its pid file; should another process have that number now, dockerd would
  # refuse to start.
  pid=$(cat /var/run/docker.pid 2>/dev/null || true)
  if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != dockerd ]; then
    rm -f /var/run/docker.pid
  fi
  pgrep -x dockerd >/dev/null || setsid nohup dockerd >>/var/log/dockerd.log 2>&1 </dev/null &
fi

for _ in $(seq 120); do
  if answers; then
    exit 0
  fi
  sleep 0.5
done
echo "The Docker engine did not answer within 60 s. Its last words:" >&2
tail -n 20 /var/log/dockerd.log >&2 || journalctl -u docker -n 20 --no-pager >&2
exit 1
