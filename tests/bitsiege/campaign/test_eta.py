from bitsiege.campaign.eta import duration


def test_durations_are_short():
    assert [duration(s) for s in (0.4, 59, 61, 7322)] == ["0 s", "59 s", "1 min 1 s", "2 h 2 min"]
