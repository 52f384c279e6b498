"""The modules of convolutions: padding, sliding windows, pooling."""

from __future__ import annotations

from collections.abc import Mapping

from hw.timing.modules import Activity, Single, count_as


class _Registered(Single):
    """A module whose output waits in a register; the next beat moves there once it is free."""

    def __init__(self) -> None:
        self._valid = False

    @property
    def valid(self) -> bool:
        """Whether m_axis_tvalid is high."""
        return self._valid

    def _advances(self, out_ready: bool) -> bool:
        return out_ready or not self._valid


class Padding(_Registered):
    """bnn_fmpadding: border beats need no input, but a frame begins when its first pixel is there."""

    def __init__(self, p: Mapping[str, int]) -> None:
        super().__init__()
        beats = p["CHANNELS"] // p["LANES"]
        self.row_beats = (p["LEFT"] + p["WIDTH"] + p["RIGHT"]) * beats
        self.rows = p["TOP"] + p["HEIGHT"] + p["BOTTOM"]
        self.columns = (p["LEFT"] * beats, (p["LEFT"] + p["WIDTH"]) * beats)
        self.lines = (p["TOP"], p["TOP"] + p["HEIGHT"])
        self._at = 0

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return self._advances(out_ready) and self._inside()

    def use(self, offered: bool, out_ready: bool) -> Activity:
        """What this cycle is used for: a border beat is work as well."""
        return count_as(self._advances(out_ready), self._writes(offered))

    def edge(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        if not self._advances(out_ready):
            return
        self._valid = self._writes(offered)
        if self._valid:
            self._at = (self._at + 1) % (self.row_beats * self.rows)

    def _inside(self) -> bool:
        y, x = divmod(self._at, self.row_beats)
        return self.columns[0] <= x < self.columns[1] and self.lines[0] <= y < self.lines[1]

    def _writes(self, offered: bool) -> bool:
        return offered or not (self._inside() or self._at == 0)


class SlidingWindow(_Registered):
    """bnn_swg: a buffer, read window by window; with the last beat it drops what no later window needs."""

    def __init__(self, p: Mapping[str, int]) -> None:
        super().__init__()
        beats = p["CHANNELS"] // p["LANES"]
        height, width, kernel_h, kernel_w = p["HEIGHT"], p["WIDTH"], p["KERNEL_H"], p["KERNEL_W"]
        stride_h, stride_w = p.get("STRIDE_H", 1), p.get("STRIDE_W", 1)
        self.rows = (height - kernel_h) // stride_h + 1
        self.columns = (width - kernel_w) // stride_w + 1
        self.kernel_rows = kernel_h
        self.groups = p.get("GROUPS", 1)
        # Beats of a pixel that belong to a group; from the last of them to the first one of the next pixel.
        self.group_beats = beats // self.groups
        self.hop = beats - self.group_beats + 1
        self.row_beats = kernel_w * self.group_beats
        self.skip_beats = (width - kernel_w) * beats + self.hop
        down = stride_h * width * beats
        self.step = stride_w * beats
        self.row_step = down - (self.columns - 1) * self.step
        self.frame_step = height * width * beats - (self.rows - 1) * down - (self.columns - 1) * self.step
        extent = ((kernel_h - 1) * width + kernel_w) * beats
        self.depth = p.get("DEPTH", extent + max(extent, down) + kernel_h * kernel_w * beats)
        self._have = self._offset = self._beat = self._ky = self._group = self._x = self._y = 0

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return self._have < self.depth

    def use(self, offered: bool, out_ready: bool) -> Activity:
        """What this cycle is used for: reading a beat of a window is the work."""
        return count_as(self._advances(out_ready), self._have > self._offset)

    def edge(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        taken = offered and self.ready(out_ready)
        if self._advances(out_ready):
            self._valid = self._have > self._offset
            if self._valid:
                self._fetch()
        self._have += int(taken)

    def _fetch(self) -> None:
        self._beat += 1
        if self._beat < self.row_beats:
            self._offset += self.hop if self._beat % self.group_beats == 0 else 1
            return
        self._beat = 0
        self._ky += 1
        if self._ky < self.kernel_rows:
            self._offset += self.skip_beats
            return
        self._ky = 0
        self._group = (self._group + 1) % self.groups
        self._offset = self._group * self.group_beats
        if self._group:
            return
        self._x += 1
        if self._x < self.columns:
            self._have -= self.step
            return
        self._x = 0
        self._y = (self._y + 1) % self.rows
        self._have -= self.row_step if self._y else self.frame_step


class Pool(_Registered):
    """bnn_pool: one output beat with each beat of a window's last pixel."""

    def __init__(self, p: Mapping[str, int]) -> None:
        super().__init__()
        beats = p["CHANNELS"] // p["LANES"]
        self.window_beats = p["PIXELS"] * beats
        self.silent_beats = (p["PIXELS"] - 1) * beats
        self._at = 0

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return self._advances(out_ready)

    def edge(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        if not self.ready(out_ready):
            return
        self._valid = offered and self._at >= self.silent_beats
        if offered:
            self._at = (self._at + 1) % self.window_beats
