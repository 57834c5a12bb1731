# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``gluster ... --xml`` prints, in the shapes of version 11. The answers were recorded and cut down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_UUID = "79803835-0c40-46b6-86fb-46b9a0d2d7d3"


def _answer(body: str, error: str = "<opErrstr/>") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        f"<cliOutput>\n  <opRet>0</opRet>\n  <opErrno>0</opErrno>\n  {error}\n{body}\n</cliOutput>\n"
    )


def peer_status(*peers: tuple[str, bool, int]) -> str:
    """``gluster peer status --xml``: address, connected, state (3: in the cluster, 4: accepted, 6: rejected)."""
    return _answer(
        "<peerStatus>"
        + "".join(
            f"""
    <peer>
      <uuid>{_UUID}</uuid>
      <hostname>{address}</hostname>
      <hostnames>
        <hostname>{address}</hostname>
      </hostnames>
      <connected>{int(connected)}</connected>
      <state>{state}</state>
      <stateStr>Peer in Cluster</stateStr>
    </peer>"""
            for address, connected, state in peers
        )
        + "</peerStatus>"
    )


NO_VOLUMES = _answer("<volInfo>\n    <volumes>\n      <count>0</count>\n    </volumes>\n  </volInfo>")


def volume_info(
    name: str,
    bricks: Sequence[str],
    status: str = "Started",
    arbiters: int = 0,
    options: Mapping[str, str] | None = None,
) -> str:
    """``gluster volume info --xml``."""
    listed = "".join(
        f'<brick uuid="{_UUID}">{brick}<name>{brick}</name><hostUuid>{_UUID}</hostUuid><isArbiter>0</isArbiter></brick>'
        for brick in bricks
    )
    option = "".join(
        f"<option>\n<name>{key}</name>\n<value>{value}</value>\n</option>" for key, value in (options or {}).items()
    )
    return _answer(f"""  <volInfo>
    <volumes>
      <volume>
        <name>{name}</name>
        <id>{_UUID}</id>
        <status>1</status>
        <statusStr>{status}</statusStr>
        <snapshotCount>0</snapshotCount>
        <brickCount>{len(bricks)}</brickCount>
        <distCount>1</distCount>
        <replicaCount>{len(bricks)}</replicaCount>
        <arbiterCount>{arbiters}</arbiterCount>
        <disperseCount>0</disperseCount>
        <redundancyCount>0</redundancyCount>
        <type>2</type>
        <typeStr>Replicate</typeStr>
        <transport>0</transport>
        <bricks>{listed}</bricks>
        <optCount>{len(options or {})}</optCount>
        <options>{option}</options>
      </volume>
      <count>1</count>
    </volumes>
  </volInfo>""")


def volume_status(bricks: Sequence[tuple[str, str, bool]]) -> str:
    """``gluster volume status NAME --xml``: address, path, online; and the self-heal daemons, which are nodes too."""

    def node(hostname: str, path: str, online: bool, port: str) -> str:
        return f"""
        <node>
          <hostname>{hostname}</hostname>
          <path>{path}</path>
          <peerid>{_UUID}</peerid>
          <status>{int(online)}</status>
          <port>{port}</port>
          <ports>
            <tcp>{port}</tcp>
            <rdma>N/A</rdma>
          </ports>
          <pid>{1292 if online else -1}</pid>
        </node>"""

    nodes = "".join(node(address, path, online, "60573" if online else "N/A") for address, path, online in bricks)
    healers = "".join(
        node("Self-heal Daemon", "localhost" if not place else address, True, "N/A")
        for place, (address, _path, _online) in enumerate(bricks)
    )
    return _answer(f"""  <volStatus>
    <volumes>
      <volume>
        <volName>media</volName>
        <nodeCount>{2 * len(bricks)}</nodeCount>{nodes}{healers}
        <tasks/>
      </volume>
    </volumes>
  </volStatus>""")


def heal_summary(entries: Mapping[str, int | None]) -> str:
    """``gluster volume heal NAME info summary --xml``: files to heal; None for a brick that is not connected."""
    bricks = "".join(
        f"""
      <brick hostUuid="{_UUID if count is not None else "-"}">
        <name>{name}</name>
        <status>{"Connected" if count is not None else "Transport endpoint is not connected"}</status>
        <totalNumberOfEntries>{"-" if count is None else count}</totalNumberOfEntries>
        <numberOfEntriesInHealPending>{"-" if count is None else count}</numberOfEntriesInHealPending>
        <numberOfEntriesInSplitBrain>{"-" if count is None else 0}</numberOfEntriesInSplitBrain>
        <numberOfEntriesPossiblyHealing>{"-" if count is None else 0}</numberOfEntriesPossiblyHealing>
      </brick>"""
        for name, count in entries.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        f"<cliOutput>\n  <healInfo>\n    <bricks>{bricks}\n    </bricks>\n  </healInfo>\n"
        "  <opRet>0</opRet>\n  <opErrno>0</opErrno>\n  <opErrstr/>\n</cliOutput>\n"
    )
