"""Work ahead: in order, bounded, and what happens to errors."""

import itertools
import threading
import time

import pytest

from reid_runtime.pipeline import in_order, windows


def test_order_is_the_inputs_whatever_finishes_first():
    def slow_first(item):
        time.sleep(0.02 if item % 8 == 0 else 0)
        return -item

    assert list(in_order(slow_first, range(60), threads=4, ahead=8)) == [-item for item in range(60)]


def test_work_is_done_side_by_side():
    together = threading.Barrier(3, timeout=10)
    assert list(in_order(lambda item: together.wait() >= 0, range(6), threads=3, ahead=3)) == [True] * 6


def test_endless_input_is_taken_no_further_than_asked():
    taken = []

    def source():
        for item in itertools.count():
            taken.append(item)
            yield item

    made = in_order(lambda item: item, source(), threads=2, ahead=5)
    assert taken == []
    for place in range(50):
        assert next(made) == place
        assert len(taken) == place + 5
    made.close()


def test_error_of_an_item_comes_at_its_turn():
    def refuse_three(item):
        if item == 3:
            raise LookupError(item)
        return item

    made = in_order(refuse_three, range(10), threads=4, ahead=10)
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError):
        next(made)


def broken(items):
    yield from items
    raise ConnectionError("the camera is gone")


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_error_of_the_input_comes_after_all_that_was_before(ahead):
    made = in_order(lambda item: item, broken(range(7)), threads=2, ahead=ahead)
    assert list(itertools.islice(made, 7)) == list(range(7))
    with pytest.raises(ConnectionError):
        next(made)


def test_closing_ends_the_threads():
    def ours():
        return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]

    made = in_order(lambda item: item, itertools.count(), threads=3, ahead=9)
    next(made)
    assert ours()
    made.close()
    assert not ours()


def test_windows():
    assert list(windows(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(windows([], 3)) == []
    assert next(windows(itertools.count(), 2)) == [0, 1]
    last_words = windows(broken(range(4)), 3)
    assert [next(last_words), next(last_words)] == [[0, 1, 2], [3]]
    with pytest.raises(ConnectionError):
        next(last_words)
