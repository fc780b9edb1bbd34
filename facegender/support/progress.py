"""Progress of long work as sentences, where there is no terminal for a bar."""

from __future__ import annotations

import time
from collections.abc import Callable

from facegender.support.text import age_in_words

SENTENCE_EVERY_S = 5.0


def progress_in_sentences(
    report: Callable[[str], None], things: str = "photographs"
) -> Callable[[str, int, int], None]:
    """Return a function of stage, done and count that reports a sentence every few seconds.

    Args:
        report: Takes a sentence, e.g. "decoding photographs: 1200 of 5000, 3 min left".
        things: What is counted.
    """
    stage_now, stage_began, done_before, reported_at = "", 0.0, 0, 0.0

    def progress(stage: str, done: int, count: int) -> None:
        nonlocal stage_now, stage_began, done_before, reported_at
        now = time.monotonic()
        if stage != stage_now:
            stage_now, stage_began, done_before, reported_at = stage, now, done, now
        if done < count and now - reported_at >= SENTENCE_EVERY_S:
            reported_at = now
            text = f"{stage} {things}: {done} of {count}"
            if done > done_before:
                left_s = (count - done) * (now - stage_began) / (done - done_before)
                text += f", {age_in_words(left_s)} left"
            report(text)

    return progress
