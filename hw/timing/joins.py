"""The modules at which streams part and meet."""

from __future__ import annotations

from hw.timing.modules import Activity, Flags, count_as


class Duplicate:
    """bnn_duplicate: one register; a beat is followed by the next one when all copies have left."""

    def __init__(self, copies: int) -> None:
        self._waiting = (False,) * copies

    @property
    def valids(self) -> Flags:
        """Whether each m_axis_tvalid is high: the copies that have not left."""
        return self._waiting

    def readies(self, offered: Flags, out_ready: Flags) -> Flags:
        """Whether s_axis_tready is high."""
        return (not any(self._stays(out_ready)),)

    def activity(self, offered: Flags, out_ready: Flags) -> Activity:
        """What this cycle is used for: a copy that stays holds up the next beat."""
        return count_as(not any(self._stays(out_ready)), *offered)

    def clock(self, offered: Flags, out_ready: Flags) -> None:
        """The clock edge."""
        stays = self._stays(out_ready)
        taken = offered[0] and not any(stays)
        self._waiting = (True,) * len(stays) if taken else stays

    def _stays(self, out_ready: Flags) -> Flags:
        return tuple(w and not r for w, r in zip(self._waiting, out_ready, strict=True))


class Sum:
    """bnn_add: takes a beat of each input in the same cycle."""

    def __init__(self) -> None:
        self._valid = False

    @property
    def valids(self) -> Flags:
        """Whether m_axis_tvalid is high."""
        return (self._valid,)

    def readies(self, offered: Flags, out_ready: Flags) -> Flags:
        """Whether each s_axis_tready is high: when the other input has a beat."""
        advances = self._advances(out_ready)
        return advances and offered[1], advances and offered[0]

    def activity(self, offered: Flags, out_ready: Flags) -> Activity:
        """What this cycle is used for."""
        return count_as(self._advances(out_ready), all(offered))

    def clock(self, offered: Flags, out_ready: Flags) -> None:
        """The clock edge."""
        if self._advances(out_ready):
            self._valid = all(offered)

    def _advances(self, out_ready: Flags) -> bool:
        return out_ready[0] or not self._valid
