"""What one worker takes on, by name and with its default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    max_body: int = 10_000_000  # bytes of one request, counted while they arrive; more is 413
    max_rows: int = 10_000  # rows of one request; more is 413
    max_in_flight: int = 1_024  # requests being read, queued or answered; more is 429
    max_queued_rows: int = 100_000  # rows waiting for the model; more is 429
    max_buffered: int = 256_000_000  # bytes of all bodies still arriving; more is 429
    max_merged_rows: int = 1_024  # rows of several requests in one call of the model
    max_drained: int = 100_000_000  # bytes read after a refusal, so that it reaches a client still sending
    body_timeout: float = 30.0  # seconds until a body must be complete; then 408
    predict_timeout: float = 30.0  # seconds until an answer; then 504
    slow_call: float = 0.02  # seconds; a longer call of the model runs on a thread, not in the event loop
