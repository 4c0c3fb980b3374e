"""Who takes part in a fit, what each rank last did, and why one stopped: kept in a store that all ranks reach."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from torch.distributed import Store

from pellucid.core.errors import RankError, raise_all

T = TypeVar("T")
POLL = 0.02
"""Seconds between looks at the store while waiting."""


class Members:
    """The ranks of one fit.

    A thread of each rank counts up its beat in the store. A rank whose beat stands still was killed, suspended or cut off;
    one that beats but has entered fewer collective calls than the others hangs. Beats are compared with themselves
    only, so no two machines' clocks are.
    """

    def __init__(self, store: Store, beats: Store, rank: int, size: int, timeout: float, store_at: str) -> None:
        """`beats` is a connection of its own to `store`; `store_at` says who holds it, for messages."""
        self.store, self.rank, self.size, self.timeout, self.store_at = store, rank, size, timeout, store_at
        self.step, self.calls = 0, 0
        self.period = min(1.0, timeout / 5)
        self._answered = time.monotonic()
        self.diagnosing = self._lost_store = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(beats,), daemon=True)
        self._thread.start()

    @property
    def others(self) -> list[int]:
        """Every rank but this one."""
        return [rank for rank in range(self.size) if rank != self.rank]

    def exchange(self, what: str, facts: dict[str, Any]) -> list[dict[str, Any]]:
        """Return every rank's `facts` under a name used once; RankError names the ranks that do not give theirs."""

        def job() -> list[dict[str, Any]]:
            self._ask(self.store.set, f"{what}/{self.rank}", json.dumps(facts))
            keys = [f"{what}/{rank}" for rank in range(self.size)]
            self._await(keys, f"the ranks' {what}")
            return [json.loads(self._ask(self.store.get, key)) for key in keys]

        return self._with_store(job)

    def failed(self, error: BaseException) -> None:
        """Tell the others why this rank stops; it is not told if the store no longer answers."""
        own = isinstance(error, RankError)
        text = str(error) if own else f"rank {self.rank} of {self.size} stopped at step {self.step}: {_named(error)}"

        def job() -> None:
            self._ask(self.store.set, f"failed/{self.rank}", text)
            if self.store_at == f"rank {self.rank}":  # the store ends with this process: let the others read it first
                self._linger()

        with suppress(RankError):  # the others then miss this rank's heartbeat, and its own error is the one to show
            if not self._lost_store:
                self._with_store(job)
        self._over.set()

    def leave(self) -> None:
        """Wait until every rank has come to its end, then stop beating; RankError if one did not."""
        self.exchange("end", {})
        if self.store_at == f"rank {self.rank}":
            self._with_store(self._linger)
        else:
            self._with_store(lambda: self._ask(self.store.set, f"left/{self.rank}", ""))
        self._over.set()

    def diagnose(self, cause: BaseException) -> RankError:
        """Return the error that names the rank to blame for a collective call that failed."""
        self.diagnosing = True
        try:
            blame = self._with_store(self._blame)
        except RankError as error:
            return error
        reason = blame or f"a call over the ranks failed at rank {self.rank} and every rank still answers: {cause}"
        return RankError(reason)

    def _blame(self) -> str | None:
        if text := self._told():
            return text
        before, at = self._beats(), time.monotonic()
        while time.monotonic() - at < 2.5 * self.period:
            time.sleep(POLL)
            if text := self._told():
                return text
        now = self._beats()
        silent = [rank for rank in self.others if now[rank]["beat"] == before[rank]["beat"]]
        if silent:
            return self._lost(silent, now)
        behind = [rank for rank in self.others if now[rank]["calls"] < self.calls]
        if behind:
            where = ", ".join(f"rank {rank} of {self.size} (step {now[rank]['step']})" for rank in behind)
            return f"{where} hangs: it lives, but did not take part for {self.timeout:g} s. {_NEXT}"
        return None

    def _lost(self, ranks: list[int], beats: list[dict[str, int]]) -> str:
        named = " and ".join(f"rank {rank}" for rank in ranks)
        step = min(beats[rank]["step"] for rank in ranks)
        return (
            f"{named} of {self.size} no longer answers: killed, suspended or cut off, last heard from in step {step}. {_NEXT}"
        )

    def _told(self) -> str | None:
        """What a rank that failed left behind for the others."""
        for rank in self.others:
            if self._ask(self.store.check, [f"failed/{rank}"]):
                text = self._ask(self.store.get, f"failed/{rank}").decode()
                self._ask(self.store.set, f"left/{self.rank}", "")
                return text
        return None

    def _beats(self) -> list[dict[str, int]]:
        keys = [f"beat/{rank}" for rank in range(self.size)]
        never = {"beat": -1, "calls": 0, "step": 0}
        return [json.loads(self._ask(self.store.get, key)) if self._ask(self.store.check, [key]) else never for key in keys]

    def _await(self, keys: list[str], what: str) -> None:
        """Return when all keys are there; RankError if a rank failed, or one whose key is missing fell silent."""
        last = self._beats()
        changed = [time.monotonic()] * self.size
        looked = time.monotonic()
        while not self._ask(self.store.check, keys):
            time.sleep(POLL)
            if text := self._told():
                raise RankError(text)
            if time.monotonic() - looked < self.period:
                continue
            looked, now = time.monotonic(), self._beats()
            for rank in self.others:
                changed[rank] = looked if now[rank]["beat"] != last[rank]["beat"] else changed[rank]
            last = now
            missing = [rank for rank in self.others if not self._ask(self.store.check, [keys[rank]])]
            silent = [rank for rank in missing if looked - changed[rank] > self.timeout]
            absent = [rank for rank in silent if now[rank]["beat"] < 0]
            if absent:
                named = " and ".join(f"rank {rank}" for rank in absent)
                raise RankError(f"{named} of {self.size} did not join within {self.timeout:g} s. Look at its log.")
            if silent:
                raise RankError(f"waiting for {what}: {self._lost(silent, now)}")

    def _linger(self) -> None:
        """Keep the store until the others have read it, or long enough for those that still can."""
        end = time.monotonic() + min(2.0, self.timeout)
        while time.monotonic() < end and not self._ask(self.store.check, [f"left/{rank}" for rank in self.others]):
            time.sleep(POLL)

    def _beat(self, store: Store) -> None:
        count = 0
        while not self._over.is_set():
            count += 1
            try:
                store.set(f"beat/{self.rank}", json.dumps({"beat": count, "calls": self.calls, "step": self.step}))
            except RuntimeError:  # the store has ended, and with it the fit; the training thread finds out by itself
                return
            self._over.wait(self.period)

    def _ask(self, operation: Callable[..., Any], *values: Any) -> Any:
        answer = operation(*values)
        self._answered = time.monotonic()
        return answer

    def _with_store(self, job: Callable[[], T]) -> T:
        """Do `job` in a thread, for a store whose holder is suspended never answers, and no timeout of its own ends that."""
        done: list[T] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                done.append(job())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
                raised.append(error)

        self._answered = time.monotonic()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(POLL)
            if time.monotonic() - self._answered > self.timeout + self.period:
                self._lost_store = True
                raise RankError(f"{self.store_at}, which holds the ranks' store, no longer answers. {_NEXT}")
        if raised and isinstance(raised[0], RankError):
            raise raised[0]
        if raised:
            raise RankError(f"{self.store_at}, which holds the ranks' store, is gone ({raised[0]}). {_NEXT}") from raised[0]
        return done[0]


def agree(members: Members, what: str, facts: dict[str, Any]) -> None:
    """Check that all ranks hold the same facts; RankError names every rank and everything that differs."""
    found = members.exchange(what, facts)
    problems = []
    for key in sorted(set().union(*found)):
        values = [repr(entry.get(key, "nothing")) for entry in found]
        if len(set(values)) > 1:
            problems.append(f"{key}: {', '.join(f'{_holders(values, value)} {value}' for value in dict.fromkeys(values))}")
    raise_all(problems, RankError, title=f"the {members.size} ranks do not hold the same {what}")


def _holders(values: list[str], value: str) -> str:
    holders = [rank for rank, other in enumerate(values) if other == value]
    if len(holders) == 1:
        return f"rank {holders[0]} has"
    return f"ranks {', '.join(map(str, holders[:8]))}{' and more' if len(holders) > 8 else ''} have"


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


_NEXT = "The last checkpoint is whole; run the same command again to go on from it."
