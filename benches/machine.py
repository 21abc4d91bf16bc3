"""Describes the machine and the versions, on which a result depends in addition to the code."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import native


def describe() -> str:
    """Returns one line about the machine, without its name."""
    kernel = re.match(r"\d+(\.\d+)*", platform.release())
    system = f"{platform.system()} {kernel[0] if kernel else ''}".strip()
    return f"{processor()}, {os.cpu_count()} cores, {platform.machine()}, {system}"


def processor() -> str:
    return cpu_fact("model name") or platform.processor()


def cpu_fact(name: str) -> str:
    """Returns what Linux reports about the first processor; empty if it reports nothing."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(rf"^{name}\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def python_version() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def rust_version() -> str:
    found = re.match(r"rustc (\S+)", output("rustc", "--version"))
    return found[1] if found else "unknown"


def distribution_versions(*names: str) -> str | None:
    """Returns the versions of these Python packages, or None if one of them is not installed."""
    try:
        return ", ".join(f"{name} {version(name)}" for name in names)
    except PackageNotFoundError:
        return None


def crate_versions(*names: str) -> str:
    """Returns the versions of these crates that the benchmark is built with."""
    listing = output(*("cargo", "tree", "--package", native.PACKAGE, "--depth", "1", "--prefix", "none"))
    versions = dict(re.findall(r"^(\S+) v(\S+)", listing, re.MULTILINE))
    return ", ".join(f"{name} {versions.get(name, '(version unknown)')}" for name in names)


def wheel_mb() -> float | None:
    """Returns the size of the wheel that `make wheel` built, if there is one."""
    wheels = list((native.ROOT / "dist").glob("*.whl"))
    return wheels[0].stat().st_size / 1e6 if wheels else None


def raise_open_files_limit(wanted: int) -> None:
    """Raises the limit of open files for this process and its children to this number, if the machine allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def output(*command: str) -> str:
    """Returns the output of a command, or an empty string if it fails."""
    try:
        done = subprocess.run(command, cwd=native.ROOT, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
