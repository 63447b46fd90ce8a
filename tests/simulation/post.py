"""The queues as Azure's are: at least once, in no order, very late, and open to strangers."""

from __future__ import annotations

import random
from collections import Counter

from shared.adapters.memory import MemoryClock, MemoryMail
from shared.adapters.memory.signals import Letter
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE

DEQUEUES_MAX = 5  # host.json's own: after so many a message is poison
AGAIN_AFTER_S = 30
GARBAGE = (
    "",
    "{",
    "null",
    "[]",
    '"\\ud800"',
    '{"migration": "sim"}',
    '{"migration": 1, "slice": []}',
    '{"migration": "nobody", "slice": "x"}',
    '{"migration": "sim", "slice": "0000000000-9999999999-r000"}',
    "\x00" * 300,
)
POISON = tuple(f"{queue}-poison" for queue in (COPY_QUEUE, VALIDATE_QUEUE))


class Post(MemoryMail):
    """The twin of the queues, with the host's part of them: order, repetition, poison."""

    def __init__(self, clock: MemoryClock) -> None:
        super().__init__(clock)
        self._now_s = clock.now_s
        self._failures: Counter[tuple[str, str]] = Counter()
        self.seen: list[str] = []
        """Every message ever delivered, for delivering it once more much later."""

    def take_any(self, queues: tuple[str, ...], rng: random.Random) -> Letter | None:
        """Any message that can be seen, not the oldest."""
        with self._lock:
            now_s = self._now_s()
            visible = [
                each
                for each in self._letters
                if each.queue in queues and each.visible_at_s <= now_s
            ]
            if not visible:
                return None
            letter = rng.choice(visible)
            self._letters.remove(letter)
        self.seen.append(letter.text)
        return letter

    def failed(self, letter: Letter) -> None:
        """It comes again, and at last as poison."""
        key = (letter.queue, letter.text)
        self._failures[key] += 1
        if self._failures[key] < DEQUEUES_MAX:
            self.send(letter.queue, letter.text, delay_s=AGAIN_AFTER_S)
            return
        del self._failures[key]
        self.send(f"{letter.queue}-poison", letter.text)

    def done(self, letter: Letter) -> None:
        self._failures.pop((letter.queue, letter.text), None)
