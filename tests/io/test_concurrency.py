"""Work ahead: in order, bounded, and what happens to errors."""

import itertools
import threading
import time

import pytest

from reid_runtime.io.concurrency import background_writer, chunked, parallel_map, peek, share_out


def test_order_is_the_inputs():
    def slow_first(item):
        time.sleep(0.02 if item % 8 == 0 else 0)
        return -item

    assert list(parallel_map(slow_first, range(60), threads=4, prefetch=8)) == [-item for item in range(60)]


def test_parallel_map_is_parallel():
    together = threading.Barrier(3, timeout=10)
    assert list(parallel_map(lambda item: together.wait() >= 0, range(6), threads=3, prefetch=3)) == [True] * 6


def test_prefetch_is_bounded():
    taken = []

    def source():
        for item in itertools.count():
            taken.append(item)
            yield item

    made = parallel_map(lambda item: item, source(), threads=2, prefetch=5)
    assert taken == []
    for index in range(50):
        assert next(made) == index
        assert len(taken) == index + 5
    made.close()


def test_item_error_comes_at_its_turn():
    def refuse_three(item):
        if item == 3:
            raise LookupError(item)
        return item

    made = parallel_map(refuse_three, range(10), threads=4, prefetch=10)
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError):
        next(made)


def broken(items):
    yield from items
    raise ConnectionError("the camera is gone")


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_input_error_comes_last(ahead):
    made = parallel_map(lambda item: item, broken(range(7)), threads=2, prefetch=ahead)
    assert list(itertools.islice(made, 7)) == list(range(7))
    with pytest.raises(ConnectionError):
        next(made)


def test_closing_ends_threads():
    def ours():
        return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]

    made = parallel_map(lambda item: item, itertools.count(), threads=3, prefetch=9)
    next(made)
    assert ours()
    made.close()
    assert not ours()


def test_chunks_grow():
    assert list(chunked(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunked([], 3)) == []
    assert next(chunked(itertools.count(), 2)) == [0, 1]
    last_words = chunked(broken(range(4)), 3)
    assert [next(last_words), next(last_words)] == [[0, 1, 2], [3]]
    with pytest.raises(ConnectionError):
        next(last_words)


def test_chunks_of_full_size():
    assert list(chunked(range(40), 16, first=16)) == [list(range(16)), list(range(16, 32)), list(range(32, 40))]
    assert [len(window) for window in chunked(range(40), 16)] == [8, 16, 16]


def test_writer_keeps_the_order():
    written = []

    def write(item):
        written.append((item, threading.current_thread().name))

    with background_writer(write) as submit:
        for item in range(20):
            submit(item)
    assert [item for item, _ in written] == list(range(20))
    assert {name.rpartition("_")[0] for _, name in written} == {"write"}


def test_slow_writer_blocks_submit():
    """One item is at the writer, one waits, and the third is not taken."""
    go, handed = threading.Semaphore(0), []

    def make():
        with background_writer(lambda item: go.acquire(timeout=30), waiting=1) as submit:
            for item in range(6):
                submit(item)
                handed.append(item)

    maker = threading.Thread(target=make)
    maker.start()
    for released in range(6):
        end = time.monotonic() + 10
        while len(handed) < min(6, released + 2) and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.01)
        assert len(handed) <= released + 2
        go.release()
    maker.join(timeout=30)
    assert handed == list(range(6))


@pytest.mark.parametrize("broken_at", [0, 3, 9])
def test_writer_error(broken_at):
    written = []

    def write(item):
        if item == broken_at:
            raise OSError(28, "No space left on device")
        written.append(item)

    def make():
        with background_writer(write) as submit:
            for item in range(10):
                submit(item)

    with pytest.raises(OSError, match="No space left"):
        make()
    assert written == list(range(broken_at))


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, LookupError])
def test_submitted_items_are_written_after_an_error(ending):
    written = []

    def write(item):
        time.sleep(0.01)
        written.append(item)

    def make():
        with background_writer(write, waiting=2) as submit:
            for item in range(3):
                submit(item)
            raise ending

    with pytest.raises(ending):
        make()
    assert written == [0, 1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("write")]


def test_peek_takes_nothing_away():
    for items, count in ((range(3), 3), (range(9), 5), (range(0), 0)):
        there, again = peek(iter(items), 5)
        assert (there, list(again)) == (count, list(items))
    there, again = peek(broken(range(3)), 5)
    assert there == 3
    assert [next(again) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ConnectionError):
        next(again)


def test_share_out_does_all_and_raises_the_first_error_of_those_that_failed():
    done, together = [], threading.Barrier(3)
    share_out(done.append, range(100), threads=3)
    assert sorted(done) == list(range(100))

    def refuse(item):
        together.wait(timeout=30)
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^0$"):
        share_out(refuse, range(100), threads=3)
    assert together.n_waiting == 0
