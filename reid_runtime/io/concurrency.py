"""Threads that work ahead of a consumer, or write behind a producer: bounded, and in order."""

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from queue import Empty, Queue
from typing import Any, TypeVar

FIRST = 8
"""How many items the first result waits for."""

_PATIENCE = 1.0
"""Seconds that threads are waited for which make what nobody takes any more."""

_LAST_PATIENCE = 30.0
"""Seconds, at the interpreter's end."""
_MAKER = "make"

Item = TypeVar("Item")
Output = TypeVar("Output")


def cores() -> int:
    """How many this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(
    function: Callable[[Item], Output], items: Iterable[Item], threads: int, prefetch: int, first: int = FIRST
) -> Generator[Output, None, None]:
    """`function` of every item, in the items' order, with at most `prefetch` of them taken from the input in advance.

    It starts with `first` in advance and takes two for each one it yields until there are `prefetch`, so that a slow
    input, a camera, has its first result early. Closing the generator ends the threads; it waits a second at most for
    those at work, of which one that takes longer ends after the item that it is at.
    An error in `function` is raised at its item's turn. When `items` itself raises, what was taken before is still
    yielded, then the error is raised.
    """
    with workers(threads) as submit:
        yield from ahead(submit, function, items, prefetch, first)


def ahead(
    submit: Callable[..., Future[Output]],
    function: Callable[[Item], Output],
    items: Iterable[Item],
    prefetch: int,
    first: int | None = None,
) -> Iterator[Output]:
    """As `parallel_map`, on the threads of `workers`; without `first`, with `prefetch` in advance from the start."""
    iterator = iter(items)
    waiting: deque[Future[Output]] = deque()
    source_error: Exception | None = None
    more, limit = True, min(first or prefetch, prefetch)
    while more or waiting:
        while more and len(waiting) < limit:
            try:
                waiting.append(submit(function, next(iterator)))
            except StopIteration:
                more = False
            except Exception as error:  # raised once its turn comes
                source_error, more = error, False
        if waiting:
            yield waiting.popleft().result()
            limit = min(limit + 1, prefetch)
    if source_error is not None:
        raise source_error


@contextmanager
def workers(threads: int) -> Iterator[Callable[..., Future[Any]]]:
    """A call that submits a function and its arguments to one of so many threads, which end with the block.

    What none of them has begun by then is dropped; those at work are waited for a second at most, and one that takes
    longer ends after the call that it is at.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    at_work: set[Future[Any]] = set()

    def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future = pool.submit(function, *arguments)
        at_work.add(future)
        future.add_done_callback(at_work.discard)
        return future

    try:
        yield submit
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if not wait([each for each in list(at_work) if not each.cancelled()], _PATIENCE).not_done:
            pool.shutdown(wait=True)


def share_out(function: Callable[[Item], object], items: Sequence[Item], threads: int) -> None:
    """Call `function` with every item, on so many threads, each of which takes the next one as soon as it is free.

    Where calls fail, the error of the first item among them is raised, and no more items are taken; nor are they where
    a signal ends the wait, which then waits a second at most for the threads to end.
    """
    left = iter(list(enumerate(items)))  # a list's, of which threads may take at once
    errors: dict[int, BaseException] = {}

    def work(_: int) -> None:
        for number, item in left:
            try:
                function(item)
            except BaseException as error:
                errors[number] = error
                deque(left, maxlen=0)

    workers = parallel_map(work, range(threads), threads, threads, first=threads)
    with closing(workers):
        try:
            deque(workers, maxlen=0)
        finally:
            deque(left, maxlen=0)
    if errors:
        raise errors[min(errors)]


@contextmanager
def background_writer(write: Callable[[Item], None], waiting: int = 1) -> Iterator[Callable[[Item], None]]:
    """A call that submits its item to `write`, which runs in a thread of its own, one item after the other.

    While one item is written, at most `waiting` more are held: then the call blocks until there is room. An error
    in `write` is raised once, by the next call or by the end of the block; what comes after it is not written.
    When the block itself raises, what was submitted is still written, and that error is the one that goes on.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="write")
    pending: deque[Future[None]] = deque()
    has_failed = False

    def write_next(item: Item) -> None:
        nonlocal has_failed
        if not has_failed:
            try:
                write(item)
            except BaseException:
                has_failed = True
                raise

    def submit(item: Item) -> None:
        while pending and (len(pending) > waiting or pending[0].done()):
            pending.popleft().result()
        pending.append(pool.submit(write_next, item))

    try:
        yield submit
        while pending:
            pending.popleft().result()
    finally:
        pool.shutdown(wait=True)


def peek(items: Iterator[Item], count: int) -> tuple[int, Iterator[Item]]:
    """How many there are of the next `count` items, and all items; an error in between is raised at its turn."""
    head: list[Item] = []
    try:
        head.extend(islice(items, count))
    except Exception as error:
        return len(head), _then_raise(head, error)
    return len(head), chain(head, items)


def _then_raise(items: Sequence[Item], error: Exception) -> Iterator[Item]:
    yield from items
    raise error


def chunked(items: Iterable[Item], size: int, first: int = FIRST) -> Iterator[list[Item]]:
    """The items in lists of `first`, then of twice as many each time up to `size`, the last one shorter.

    What came before an error is yielded, then the error is raised.
    """
    chunk: list[Item] = []
    length = min(first, size)
    try:
        for item in items:
            chunk.append(item)
            if len(chunk) == length:
                yield chunk
                chunk, length = [], min(2 * length, size)
    except Exception:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


@dataclass(frozen=True)
class _End:
    """Behind the last item."""

    error: BaseException | None


def interruptible(items: Iterator[Item], ahead: int = 512) -> Generator[Item, None, None]:
    """The items, made in a thread of their own: a signal ends the wait for the next one, however long that takes.

    At most `ahead` are made in advance. Closing the generator stops the thread after the item that it is at; it waits
    for that a second at most, and not at all where a signal has ended the wait. The interpreter's end then waits for it
    a while: it must not end below a thread that computes.
    """
    queue: Queue[Item | _End] = Queue(ahead)
    has_stopped = threading.Event()

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                queue.put(item)
                if has_stopped.is_set():
                    break
        except BaseException as raised:
            error = raised
        finally:
            if isinstance(items, Generator):
                items.close()
        queue.put(_End(error))

    thread = threading.Thread(target=make, daemon=True, name=_MAKER)
    thread.start()
    patience = _PATIENCE
    try:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    except (KeyboardInterrupt, SystemExit):
        patience = 0.0
        raise
    finally:
        has_stopped.set()
        end = time.monotonic() + patience
        while thread.is_alive() and time.monotonic() < end:
            with suppress(Empty):  # room for what it is about to put
                queue.get(timeout=0.01)
        if thread.is_alive():
            atexit.register(thread.join, _LAST_PATIENCE)


def is_work_left() -> bool:
    """Whether a thread is still at work whose result nobody takes any more."""
    return any(thread.name == _MAKER for thread in threading.enumerate())
