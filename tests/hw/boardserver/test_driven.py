"""The thin layer between server and driver."""

import numpy as np
import pytest

from hw.boardserver.deadlines import Deadline
from hw.boardserver.driven import DrivenDevice, hash_sources, read_temperatures
from hw.boardserver.errors import CHANNEL, CLOCK, DEVICE, STALE_BITSTREAM, STUCK, FaultError
from hw.pynq import ChannelError, ClockError, DriverError, StuckError, WrongOverlayError


class Report:
    set, measured = 100.0, (99.5, 100.5)

    def check(self):
        pass


class FakeDriver:
    def __init__(self):
        self.batch_size, self.timeout_s, self.seed = 1, None, 0
        self.asked, self.error, self.reports = [], None, 0

    def logits(self, images, *, first_frame=None):
        self.asked.append((len(images), first_frame, self.seed, self.timeout_s))
        if self.error is not None:
            raise self.error
        return np.zeros((len(images), 2), np.int64)

    def clock_report(self):
        self.reports += 1
        return Report()

    def reset(self):
        self.asked.append("reset")

    def close(self):
        self.asked.append("close")


class FakeOverlay:
    draws, input_shape, design_hash = True, (1 << 10, 1 << 10, 1), "ab"


@pytest.fixture
def driver():
    return FakeDriver()


@pytest.fixture
def device(driver, tmp_path):
    made = DrivenDevice(
        board_id="b",
        board_names=("B",),
        open_driver=lambda overlay: driver,
        driver_folder=tmp_path,
        simulated=True,
        load_s=1.0,
    )
    made.load(FakeOverlay, Deadline.after(5))
    return made


def test_a_batch_goes_in_parts_with_frames_and_deadlines(device, driver):
    assert driver.batch_size == 8
    images = np.zeros((20, 1, 1, 1), np.uint8)
    device.run(images, (1 << 32) - 8, 7, Deadline.after(5))
    assert [(count, frame, seed) for count, frame, seed, _ in driver.asked] == [
        (8, (1 << 32) - 8, 7),
        (8, 0, 7),
        (4, 8, 7),
    ]
    assert all(0 < timeout_s <= 5 for *_, timeout_s in driver.asked)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StuckError("odma0 is stuck", hint="reset"), STUCK),
        (ChannelError("odma0 reports a slave error"), CHANNEL),
        (ClockError("too fast"), CLOCK),
        (WrongOverlayError("another circuit"), STALE_BITSTREAM),
        (DriverError("no memory"), DEVICE),
        (ZeroDivisionError(), DEVICE),
    ],
)
def test_the_driver_s_errors_keep_their_meaning(device, driver, error, code):
    driver.error = error
    with pytest.raises(FaultError) as caught:
        device.run(np.zeros((1, 1, 1, 1), np.uint8), 0, 0, Deadline.after(5))
    assert caught.value.code == code
    assert caught.value.message


def test_a_reset_closes_the_driver_and_the_clock_is_not_counted_each_time(device, driver):
    reports = driver.reports
    for _ in range(5):
        assert device.clocks().measured_mhz == 100.0
    assert driver.reports == reports + 1
    device.reset(Deadline.after(5))
    assert driver.asked == ["reset", "close"]
    with pytest.raises(FaultError, match="no overlay"):
        device.run(np.zeros((1, 1, 1, 1), np.uint8), 0, 0, Deadline.after(5))


def test_temperatures_are_linux_s(tmp_path):
    iio = tmp_path / "bus" / "iio" / "devices" / "iio:device0"
    iio.mkdir(parents=True)
    # The XADC of a Zynq-7000: (raw + offset) * scale are thousandths of a degree.
    for name, value in (("raw", "2600"), ("offset", "-2219"), ("scale", "123.040771484")):
        (iio / f"in_temp0_{name}").write_text(f"{value}\n")
    hwmon = tmp_path / "class" / "hwmon" / "hwmon1"
    hwmon.mkdir(parents=True)
    (hwmon / "temp1_input").write_text("51250\n")
    (hwmon / "temp2_input").write_text("nonsense\n")
    assert read_temperatures(tmp_path) == {"iio:device0/temp0": 46.88, "hwmon1/temp1": 51.25}
    assert read_temperatures(tmp_path / "nothing") == {}


def test_the_driver_s_hash_depends_on_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("1")
    first = hash_sources(tmp_path)
    (tmp_path / "note.txt").write_text("1")
    assert hash_sources(tmp_path) == first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert hash_sources(tmp_path) != first
