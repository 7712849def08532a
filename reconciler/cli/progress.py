"""What a run shows of itself while it works: bars at the bottom of a terminal, or lines and a heartbeat in a log.

Pure but for the two clocks it is given; writing is left to ``console``.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime

from reconciler.apply.events import Event, Phase, PoolMoved, RunBegan, Share
from reconciler.render.line import count
from reconciler.values import Struct, field

TICK = 1.0
"""Seconds between two looks at a terminal."""
HEARTBEAT = 60.0
"""Seconds without a line after which a log gets one."""
MOST_POOLS = 10
"""Bars that are shown at the same time; more pools are only counted."""
_BAR = 10
"""Columns of a bar without its brackets."""
_NARROW, _WIDE = 60, 100
"""Columns of a terminal below which little fits beside a name, and from which everything does."""


class _Pool(Struct):
    """One pool that is worked on."""

    share: Share
    phase: Phase = Phase.CHECKING
    until: datetime | None = None
    job_id: str = ""
    since: float = 0.0
    left: int | None = None
    """Desktops that its job has not finished; None while nobody has said it."""

    @property
    def desktops(self) -> tuple[int, int] | None:
        """Desktops that are finished, and all of them; None while that is not known."""
        total = max(self.share.desktops, self.left or 0)
        if self.phase is Phase.PROVING:
            return (total, total) if total else None
        return None if self.left is None or not total else (total - self.left, total)


class _Wait(Struct):
    """Calls that wait for the service."""

    what: str
    until: datetime | None


class Progress(Struct):
    """How far one piece of work is."""

    what: str
    monotonic: Callable[[], float]
    """Seconds, for what is shown."""
    now: Callable[[], datetime]
    began: float = 0.0
    disks: int = 0
    """Changes of disks that the run is to make."""
    disks_done: int = 0
    ended: int = 0
    """Pools in which nothing more is done."""
    total: int = 0
    working: dict[str, _Pool] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)
    waits: dict[str, _Wait] = field(default_factory=dict)
    said: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a line said that a call waits, and for what."""

    def __post_init__(self) -> None:
        """Count from now on."""
        self.began = self.monotonic()

    def saw(self, event: Event) -> None:
        """Take in what a run says of itself."""
        match event:
            case RunBegan(shares):
                self.what = "Applying"
                self.shares = {each.pool_id: each for each in shares}
                self.total, self.disks = len(shares), sum(each.disks for each in shares)
                self.ended, self.disks_done, self.working = 0, 0, {}
            case PoolMoved():
                self._moved(event)

    def _moved(self, event: PoolMoved) -> None:
        if event.ended:
            self.working.pop(event.pool_id, None)
            self.ended += event.pool_id in self.shares
            self.disks_done += event.done if event.pool_id in self.shares else 0
            return
        share = self.shares.get(event.pool_id, Share(event.pool_id, event.pool, 0, 0))
        pool = self.working.setdefault(event.pool_id, _Pool(share, since=self.monotonic()))
        pool.phase, pool.until = event.phase, event.until
        if event.job_id != pool.job_id and event.phase is Phase.JOB:
            pool.job_id, pool.left = event.job_id, None

    def jobs(self, left: Mapping[str, int]) -> None:
        """Take in how many sub-jobs of each job are unfinished."""
        for pool in self.working.values():
            if pool.job_id in left and pool.phase is Phase.JOB:
                pool.left = left[pool.job_id]

    def waiting(self, call: str, what: str, until: datetime | None) -> str:
        """Take in that calls wait; what is to be said of it, nothing where it was said a moment ago."""
        if not what:
            self.waits.pop(call, None)
            return ""
        known = self.waits.get(call)
        if known and known.what == what and not self._over(known):
            known.until = until
            return ""
        lately = self.said.get((call, what), -HEARTBEAT)
        self.waits[call] = _Wait(what, until)
        # A budget that is used up is waited for again and again: a wait that ends within a minute of the line
        # before it needs none of its own.
        ends = self.monotonic() + ((until - self.now()).total_seconds() if until else 0)
        if ends - lately < HEARTBEAT:
            return ""
        self.said[call, what] = self.monotonic()
        return f"waiting for {what}, for {call}{until_words(until)}"

    def _over(self, wait: _Wait) -> bool:
        return wait.until is not None and self.now() >= wait.until

    def heartbeat(self) -> str:
        """One line that says that the work goes on."""
        parts = [self._counted(), *(self._one(each) for each in list(self.working.values())[:MOST_POOLS])]
        more = len(self.working) - MOST_POOLS
        parts += [f"and {more} more"] if more > 0 else []
        return f"{self.what}: " + "; ".join(each for each in (*parts, self._waits()) if each)

    def lines(self, width: int, height: int) -> list[str]:
        """What stands at the bottom of a terminal of so many columns and lines."""
        shown = list(self.working.values())[: max(min(MOST_POOLS, height - 4), 0)]
        rows = [self._facts(each, width) for each in shown]
        room = max(width - 1 - 4 - max(map(len, rows), default=0), 8)
        names = [_cut(each.share.pool, room) for each in shown]
        column = max(map(_columns, names), default=0)
        found = [
            f"  {name}{' ' * (column - _columns(name))}  {facts}"
            for name, facts in zip(names, rows, strict=True)
        ]
        if len(self.working) > len(shown):
            found.append(f"  and {count(len(self.working) - len(shown), 'more pool')}")
        if waits := self._waits():
            found.append(f"  {waits}")
        found.append(f"{self.what}: {self._counted_short()}")
        return [_cut(each, width - 1) for each in found]

    def _counted(self) -> str:
        elapsed = clock_words(self.monotonic() - self.began)
        if not self.total:
            return elapsed
        disks = f"{self.disks_done} of {count(self.disks, 'disk')}"
        return f"{self.ended} of {count(self.total, 'pool')}, {disks}, {elapsed}"

    def _counted_short(self) -> str:
        elapsed = clock_words(self.monotonic() - self.began)
        if not self.total:
            return elapsed
        pools = f"{self.ended}/{count(self.total, 'pool')}"
        return f"{pools}, {self.disks_done}/{count(self.disks, 'disk')}, {elapsed}"

    def _one(self, pool: _Pool) -> str:
        known = f", {pool.desktops[0]} of {count(pool.desktops[1], 'desktop')}" if pool.desktops else ""
        return f"{pool.share.pool} {pool.phase.value}{known}{until_words(pool.until)}"

    def _facts(self, pool: _Pool, width: int) -> str:
        """What stands beside a pool's name; on a wide terminal also until when it goes on."""
        elapsed = clock_words(self.monotonic() - pool.since)
        done, total = pool.desktops or (0, 0)
        filled = _BAR * done // total if total else 0
        bar = f"[{'#' * filled}{'-' * (_BAR - filled)}]"
        if width < _NARROW:
            return f"{bar} {f'{done}/{total}' if total else pool.phase.value} {elapsed}"
        disks = count(pool.share.disks, "disk") if pool.share.disks else ""
        desktops = f"{done}/{count(total, 'desktop')}" if total else ""
        until = f"  until {pool.until:%H:%M} UTC" if pool.until and width >= _WIDE else ""
        return f"{bar}  {disks:<7}  {desktops:<14}  {pool.phase.value:<8}  {elapsed:>5}{until}"

    def _waits(self) -> str:
        self.waits = {call: each for call, each in self.waits.items() if not self._over(each)}
        said = {f"waiting for {each.what}{until_words(each.until)}" for each in self.waits.values()}
        return "; ".join(sorted(said))


class Ticker:
    """Calls something again and again while an event loop runs; it decides nothing, so it goes by real time."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, where there is a loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._next = loop.call_later(TICK, self._again)

    def stop(self) -> None:
        """End."""
        if self._next:
            self._next.cancel()
            self._next = None

    def _again(self) -> None:
        self.start()
        self._tick()


def until_words(moment: datetime | None) -> str:
    """``, until 21:05:12 UTC at the latest``; empty where no end is known."""
    return f", until {moment:%H:%M:%S} UTC at the latest" if moment else ""


def clock_words(seconds: float) -> str:
    """``0:42`` or ``1:02:03``."""
    whole = max(int(seconds), 0)
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _cut(text: str, width: int) -> str:
    """The text in at most so many columns: a line that wraps could not be taken back."""
    if _columns(text) <= width:
        return text
    while text and _columns(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _columns(text: str) -> int:
    return len(text) + sum(unicodedata.east_asian_width(each) in "WF" for each in text if each > "\u1100")
