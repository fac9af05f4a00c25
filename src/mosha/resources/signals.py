"""The signals that end a program which holds a resource."""

from __future__ import annotations

import os
import select
import signal


class Signals:
    """TERM and INT as something to wait for."""

    def __init__(self) -> None:
        self._wake_r, wake_w = os.pipe()
        os.set_blocking(wake_w, False)
        signal.set_wakeup_fd(wake_w)
        for signo in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signo, lambda _signo, _frame: None)

    def wait(self, limit_s: float) -> bool:
        """Whether one came, within the limit or before."""
        return bool(select.select([self._wake_r], [], [], max(0.0, limit_s))[0])
