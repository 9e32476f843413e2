"""The rate of frames, second by second."""

from __future__ import annotations

from relay.flood import FRAMES_PER_SECOND, PATIENCE, Rate


def test_so_many_a_second_and_no_more() -> None:
    """Within any second so many are let through; what is over does not put off what comes later."""
    rate = Rate(3)
    assert [rate.over(at) for at in (0.0, 0.1, 0.2, 0.3, 0.9)] == [False, False, False, True, True]
    assert [rate.over(at) for at in (1.0, 1.05, 1.1)] == [False, True, False]


def test_a_burst_is_not_hopeless() -> None:
    """A peer that sends more than the rate, but not without measure, is listened to for as long as it likes."""
    rate = Rate()
    for frame in range(10 * (FRAMES_PER_SECOND + PATIENCE)):
        rate.over(frame / (FRAMES_PER_SECOND + PATIENCE) * 1.01)
        assert not rate.hopeless


def test_a_flood_is_hopeless() -> None:
    """One that sends without measure is, within the second."""
    rate = Rate()
    for _ in range(FRAMES_PER_SECOND + PATIENCE):
        rate.over(0.5)
    assert not rate.hopeless
    rate.over(0.5)
    assert rate.hopeless
