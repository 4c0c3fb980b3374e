"""What memory this process holds, and how much more it may take before the system ends it."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")


def resident() -> int | None:
    """Return the bytes of memory that belong to this process alone; None where the system does not say.

    Pages of files it has mapped are left out: the system takes them back when it needs them.
    """
    found = _fields(STATUS)
    return found.get("RssAnon", 0) + found.get("RssShmem", 0) if "RssAnon" in found else None


def total() -> int:
    """Return the bytes of memory and swap of the machine."""
    found = _fields(MEMINFO)
    return found.get("MemTotal", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) + found.get("SwapTotal", 0)


def available() -> int:
    """Return how many bytes more can be taken: what the machine has to give, or less where a cgroup limits it."""
    found = _fields(MEMINFO)
    machine = found.get("MemAvailable", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    return max(0, min(machine, *(room for room in (_room_v2(), _room_v1()) if room is not None), machine))


def _room_v2() -> int | None:
    """Room in this process's cgroup (version 2) and in those it lies in."""
    rooms = []
    for folder in _own_cgroups(CGROUPS, "0::"):
        limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
        if limit is not None and used is not None:
            rooms.append(limit - used + _reclaimable(folder / "memory.stat", "inactive_file"))
    return min(rooms, default=None)


def _room_v1() -> int | None:
    rooms = []
    for folder in _own_cgroups(CGROUPS / "memory", ":memory:"):
        limit, used = _number(folder / "memory.limit_in_bytes"), _number(folder / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            rooms.append(limit - used + _reclaimable(folder / "memory.stat", "total_inactive_file"))
    return min(rooms, default=None)


def _own_cgroups(root: Path, mark: str) -> list[Path]:
    """Return the folders of this process's cgroup and of all above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    path = next((line.split(":", 2)[2] for line in lines if mark in line), "/").strip("/")
    parts = path.split("/") if path else []
    return [root.joinpath(*parts[:n]) for n in range(len(parts) + 1)]


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max": no limit


def _reclaimable(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)


def _fields(path: Path) -> dict[str, int]:
    """Return the fields of a file of /proc that are given in kB, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    parts = [line.split() for line in lines if line.endswith(" kB")]
    return {part[0].rstrip(":"): int(part[1]) << 10 for part in parts}
