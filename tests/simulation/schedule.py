"""Virtual time, and who runs next: coroutines driven by hand, so that a seed decides everything."""

from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from random import Random
from typing import Any

from domain.instant import SECOND, Instant

START: Instant = 1_800_000_000 * SECOND
STEP_US_MAX = 4_000
"""A step takes up to this much virtual time."""


class Suspend:
    """Awaited by simulated code: others may run now; it goes on at `at` or later."""

    __slots__ = ("at",)

    def __init__(self, at: Instant = 0) -> None:
        self.at = at

    def __await__(self) -> Generator[Instant, None, None]:
        yield self.at


class Task:
    """A coroutine, where it belongs, and when it wants to go on."""

    __slots__ = ("coroutine", "done", "name", "number", "process", "wake")

    def __init__(self, process: str, name: str, number: int, coroutine: Coroutine[Any, Any, None]) -> None:
        self.process = process
        self.name = name
        self.number = number
        self.coroutine = coroutine
        self.wake: Instant | None = None
        """When it goes on; `None` while it may run at once."""
        self.done = False


class Scheduler:
    """Advances one task by one step at a time. A frozen process's tasks do not run: that is a zombie in the making."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now: Instant = START
        self.tasks: list[Task] = []
        self.frozen: dict[str, Instant] = {}
        self.current: Task | None = None
        self.steps = 0
        self._ready: list[Task] = []
        self._asleep: list[tuple[Instant, int, Task]] = []
        self._spawned = 0

    def spawn(self, process: str, name: str, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Adds a task."""
        self._spawned += 1
        task = Task(process, name, self._spawned, coroutine)
        self.tasks.append(task)
        self._ready.append(task)
        return task

    def step(self) -> None:
        """Lets one task that may run go on to its next suspension; without any, time passes until one may."""
        self._rouse()
        while not self._ready:
            self.now = self._asleep[0][0]
            self._rouse()
        self.now += int(self.random.random() * STEP_US_MAX)
        chosen = int(self.random.random() * len(self._ready))
        task = self._ready[chosen]
        self._ready[chosen] = self._ready[-1]
        self._ready.pop()
        until = self.frozen.get(task.process, 0)
        if until > self.now:
            self._sleep(task, until)
        else:
            self._advance(task)

    def _rouse(self) -> None:
        while self._asleep and self._asleep[0][0] <= self.now:
            wake, _, task = heappop(self._asleep)
            if task.wake == wake and not task.done:
                self.wake(task)

    def wake(self, task: Task) -> None:
        """Ends a sleep early: what the task waits for has come."""
        if task.wake is not None and not task.done:
            task.wake = None
            self._ready.append(task)

    def _sleep(self, task: Task, until: Instant) -> None:
        task.wake = until
        heappush(self._asleep, (until, task.number, task))

    def _advance(self, task: Task) -> None:
        self.steps += 1
        self.current = task
        try:
            until = task.coroutine.send(None) or 0
        except StopIteration:
            task.done = True
            self.tasks.remove(task)
        else:
            if until > self.now:
                self._sleep(task, until)
            else:
                self._ready.append(task)
        finally:
            self.current = None

    def kill(self, process: str) -> None:
        """Ends a process between two of its steps: nothing of it runs any more but what frees its connections."""
        self.frozen.pop(process, None)
        for task in [task for task in self.tasks if task.process == process]:
            task.done = True
            self.tasks.remove(task)
            task.coroutine.close()
        self._ready = [task for task in self._ready if not task.done]

    def run_until(self, satisfied: Callable[[], bool], steps_max: int, each: Callable[[], None]) -> bool:
        """Steps, calling `each` before every step, until `satisfied`; False when `steps_max` were not enough."""
        for _ in range(steps_max):
            if satisfied():
                return True
            each()
            self.step()
        return satisfied()
