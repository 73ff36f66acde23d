"""Tokens in memory."""

from __future__ import annotations

from threading import Lock
from typing import Any

from wasmtime.component import Variant

from .wit import Lead


class TokenCache:
    """What acquisitions keep, for one application: entries by their keys, and facts that outlive an acquisition.

    Several threads may use it. Nobody waits for what another acquisition brings: two that begin at once ask the authority twice.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[str, dict[int, Any]] = {}
        self._facts: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._count = 0

    def find(self, lookup: Any, now: int) -> Variant:
        """Looks an entry up, as `symbolon:core/cache` says. `now` is in Unix milliseconds."""
        with self._lock:
            absence = "bypassed" if lookup.bypass else "absent"
            for keys in [] if lookup.bypass else lookup.alternatives:
                entry = self._newest(keys)
                expires_on = getattr(entry.payload, "expires-on", None) if entry else None
                if expires_on is not None and expires_on > getattr(lookup, "expires-before"):
                    continue
                if expires_on is not None and expires_on <= getattr(lookup, "expires-after"):
                    absence = "expired"
                elif entry:
                    return Variant("hit", entry)
        return Variant("miss") if lookup.flight is None else Variant("lead", Lead(absence, now))

    def _newest(self, keys: list[str]) -> Variant | None:
        """The entry that holds all of these keys."""
        groups = [self._entries.get(key, {}) for key in keys]
        common = set(groups[0]).intersection(*groups[1:]) if groups else set()
        return groups[0][max(common)].entry if common else None

    def put(self, store: Any) -> None:
        """Stores entries in the place of those that hold one of their keys."""
        with self._lock:
            for group in getattr(store, "replaced-groups"):
                self._remove(self._of_group(group))
            for saved in store.entries:
                for key in saved.keys + saved.replaces:
                    self._remove(list(self._entries.get(key, {}).items()))
                self._count += 1
                for key in saved.keys:
                    self._entries.setdefault(key, {})[self._count] = saved

    def remove_group(self, group: str) -> bool:
        """Removes the entries of a group. Whether there were any."""
        with self._lock:
            members = self._of_group(group)
            self._remove(members)
            return bool(members)

    def members(self, group: str) -> list[Variant]:
        """The entries of a group, oldest first."""
        with self._lock:
            return [saved.entry for _, saved in self._of_group(group)]

    def _of_group(self, group: str) -> list[tuple[int, Any]]:
        all_saved = {number: saved for held in self._entries.values() for number, saved in held.items()}
        return sorted((number, saved) for number, saved in all_saved.items() if group in saved.groups)

    def _remove(self, numbered: list[tuple[int, Any]]) -> None:
        for number, saved in numbered:
            for key in saved.keys:
                held = self._entries.get(key, {})
                held.pop(number, None)
                if not held:
                    self._entries.pop(key, None)

    def recall(self, fact: Any, now: int) -> bytes | None:
        """What is known of a fact, while it lasts."""
        with self._lock:
            value, until = self._facts.get((fact.kind, fact.key), (None, 0))
            return value if now < until else None

    def remember(self, known: Any, now: int) -> None:
        """Keeps a fact."""
        with self._lock:
            self._facts[known.fact.kind, known.fact.key] = known.value, now + getattr(known, "ttl-ms")
