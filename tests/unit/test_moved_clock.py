"""The clock that `make chaos` moves: what a program reads is shifted, and waits take as long as ever."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.chaos.stops import build_clock

# Prints how long a wait of half a second by the wall clock takes, and the wakes that it needs: of a condition
# as the C++ library waits on it, then of a futex as Abseil does, which Ray has. Then the wall clock.
PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static double now(void) {
    struct timespec read;
    clock_gettime(CLOCK_MONOTONIC, &read);
    return read.tv_sec + 1e-9 * read.tv_nsec;
}
static struct timespec soon(void) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += 500000000;
    if (end.tv_nsec >= 1000000000) end.tv_sec += 1, end.tv_nsec -= 1000000000;
    return end;
}
int main(void) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    int wakes = 0, word = 0, operation = FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME;
    struct timespec end = soon();
    double begun = now();
    pthread_mutex_lock(&mutex);
    do wakes++; while (pthread_cond_timedwait(&condition, &mutex, &end) != ETIMEDOUT);
    printf("%.3f %d ", now() - begun, wakes);
    end = soon(), begun = now(), wakes = 0;
    do wakes++; while (syscall(SYS_futex, &word, operation, 0, &end, NULL, ~0) != 0 && errno != ETIMEDOUT);
    printf("%.3f %d %ld\n", now() - begun, wakes, (long)time(NULL));
}
"""


@pytest.mark.parametrize("shift", [0, -3600, 3600])
def test_waits_take_as_long_as_they_should_while_the_clock_is_moved(tmp_path: Path, shift: int) -> None:
    library = build_clock(tmp_path)
    if library is None:
        # The library under test is compiled here; without a compiler its scenario is left out as well.
        # It is built from C, and only the chaos needs it: `make test` asks for no compiler.
        pytest.skip("no C compiler: the library that moves the clock cannot be built here")
    compiler = str(shutil.which("cc") or shutil.which("gcc"))
    source, program, moved = tmp_path / "waits.c", tmp_path / "waits", tmp_path / "shift"
    source.write_text(PROGRAM)
    moved.write_text(f"{shift}\n")
    subprocess.run([compiler, "-o", str(program), str(source), "-lpthread"], check=True, timeout=60)
    begun = time.time()
    done = subprocess.run(
        [str(program)],
        env={"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(moved)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    one, one_wakes, other, other_wakes, wall = (float(word) for word in done.stdout.split())
    assert min(one, other) > 0.4, "a wait that ends at once spins"
    assert max(one_wakes, other_wakes) < 20
    assert begun - 2 <= wall - shift <= time.time() + 2
