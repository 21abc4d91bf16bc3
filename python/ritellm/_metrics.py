"""The counters of a client in Prometheus' text format.

Source: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ritellm.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from ritellm.client import Client

#: Members of the statistics of a provider: metric, type, help.
_OF_PROVIDER = {
    "calls": ("calls_total", "counter", "Calls that were started."),
    "retries": ("retries_total", "counter", "Attempts that repeated another."),
    "in_flight": ("calls_in_flight", "gauge", "Calls in flight, without those that wait."),
    "waiting": ("calls_waiting", "gauge", "Calls that wait for a limit or a connection."),
    "connections_open": ("connections_open", "gauge", "Open connections."),
    "connections_idle": ("connections_idle", "gauge", "Open connections that are idle."),
    "bytes_sent": ("sent_bytes_total", "counter", "Bytes sent, heads included."),
    "bytes_received": ("received_bytes_total", "counter", "Bytes received."),
}
_OF_QUOTA = {
    "in_flight": ("quota_in_flight", "gauge", "Calls in flight of a quota."),
    "waiting": ("quota_waiting", "gauge", "Calls that wait for a quota."),
    "waiting_bulk": ("quota_waiting_bulk", "gauge", "Bulk calls that wait for a quota."),
    "paused_for": ("quota_paused_seconds", "gauge", "Seconds until a paused quota is used again."),
}
_OF_DEPLOYMENT = {
    "calls": ("deployment_attempts_total", "counter", "Attempts at a deployment."),
    "successes": ("deployment_successes_total", "counter", "Attempts that were answered."),
    "failures": ("deployment_failures_total", "counter", "Attempts that failed."),
    "rate_limited": ("deployment_rate_limited_total", "counter", "Attempts that a rate limit refused."),
    "cancelled": ("deployment_cancelled_total", "counter", "Attempts that were aborted."),
    "in_flight": ("deployment_in_flight", "gauge", "Attempts in flight."),
}


class _Families:
    """Metrics by name, each with its samples, in the order in which they come first."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._families: dict[str, tuple[str, str, list[str]]] = {}

    def add(self, metric: tuple[str, str, str], value: float | None, **labels: str) -> None:
        """Adds a sample; `None` is 0."""
        name, kind, text = metric
        shown = ",".join(f'{key}="{_escaped(label)}"' for key, label in {**self._labels, **labels}.items())
        samples = self._families.setdefault(f"ritellm_{name}", (kind, text, []))[2]
        samples.append(f"ritellm_{name}{{{shown}}} {value or 0}" if shown else f"ritellm_{name} {value or 0}")

    def add_all(self, metrics: Mapping[str, tuple[str, str, str]], values: Mapping[str, Any], **labels: str) -> None:
        """Adds a sample of each member that ``metrics`` lists."""
        for member, metric in metrics.items():
            self.add(metric, values[member], **labels)

    def text(self) -> str:
        lines = []
        for name, (kind, text, samples) in self._families.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *samples]
        return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def text_of(client: Client, labels: Mapping[str, str] | None) -> str:
    """Returns the metrics of a client; `ritellm.Client.metrics` documents them."""
    given: Mapping[Any, Any] = labels or {}
    for name, value in given.items():
        if not isinstance(value, str) or not str(name).isidentifier() or not str(name).isascii():
            raise InvalidArgumentError(
                f"labels[{name!r}] is {value!r}: a name of ASCII letters and a str would be right"
            )
    families = _Families(labels or {})
    stats: Any = client.stats()
    for provider, of_provider in stats["by_provider"].items():
        families.add_all(_OF_PROVIDER, of_provider, provider=provider)
    hooks = stats["hooks"]
    families.add(("hook_records_dropped_total", "counter", "Records that hooks did not get."), hooks["dropped"])
    families.add(("hook_failures_total", "counter", "Exceptions of hooks."), hooks["failed"])
    for quota, of_quota in client.limits().items():
        families.add_all(_OF_QUOTA, of_quota, quota=quota)
        for window in of_quota["windows"]:
            where = {"quota": quota, "unit": window["unit"], "seconds": f"{window['per']:g}"}
            families.add(("quota_limit", "gauge", "Limit of a window."), window["limit"], **where)
            families.add(("quota_used", "gauge", "What was used of a window."), window["used"], **where)
    for deployment, state in client.router_status().items():
        families.add_all(_OF_DEPLOYMENT, state, deployment=deployment, group=state["group"])
        is_used = ("deployment_available", "gauge", "1 if a deployment gets calls, 0 if it is left out for now.")
        families.add(is_used, int(state["why"] is None), deployment=deployment, group=state["group"])
    return families.text()
