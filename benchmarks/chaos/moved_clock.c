/* The wall clock of a process, shifted by the seconds that stand in the file CHAOS_CLOCK. The monotonic clock
   stays. Loaded with LD_PRELOAD; each thread reads the file anew at most a hundred times a second.

   Waits that end at a moment of the wall clock are shifted, too: the kernel knows the true time alone, so that with a
   clock an hour back each of them would end at once, and their threads would spin. A wait looks at the shifted clock
   again every 0.1 s, as if it had been woken for nothing, which every caller of these must reckon with; so a clock that
   is set back lengthens a wait that has begun, as the kernel's own would. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NANOSECONDS 100000000L
#define SECOND_NANOSECONDS 1000000000L

typedef int (*get_clock)(clockid_t, struct timespec *);
typedef int (*wait_timed)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
typedef long (*call_kernel)(long, ...);

static int real_clock(clockid_t clock, struct timespec *found) {
    static get_clock real;
    if (!real) real = (get_clock)dlsym(RTLD_NEXT, "clock_gettime");
    return real(clock, found);
}

static long shift(void) {
    static __thread long seconds;
    static __thread long long read_at = -1;
    struct timespec now;
    real_clock(CLOCK_MONOTONIC, &now);
    long long moment = now.tv_sec * 100LL + now.tv_nsec / 10000000;
    if (moment != read_at) {
        const char *path = getenv("CHAOS_CLOCK");
        int before = errno, file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        char text[32];
        read_at = moment;
        if (file >= 0) {
            ssize_t length = read(file, text, sizeof text - 1);
            close(file);
            if (length > 0) { /* else it is being written */
                text[length] = 0;
                seconds = strtol(text, NULL, 10);
            }
        }
        errno = before;
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *found) {
    int code = real_clock(clock, found);
    if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) found->tv_sec += shift();
    return code;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}

/* True end of the next slice of a wait until a moment of the shifted clock; 1 if that is the end of the wait. */
static int slice(const struct timespec *until, struct timespec *end) {
    struct timespec now;
    real_clock(CLOCK_REALTIME, &now);
    *end = *until;
    end->tv_sec -= shift();
    now.tv_nsec += SLICE_NANOSECONDS;
    if (now.tv_nsec >= SECOND_NANOSECONDS) now.tv_sec += 1, now.tv_nsec -= SECOND_NANOSECONDS;
    if (end->tv_sec < now.tv_sec || (end->tv_sec == now.tv_sec && end->tv_nsec <= now.tv_nsec)) return 1;
    *end = now;
    return 0;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static wait_timed real;
    struct timespec end;
    if (!real) real = (wait_timed)dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real) real = (wait_timed)dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    if (condition->__data.__wrefs & 2) return real(condition, mutex, until); /* by the monotonic clock */
    int is_last = slice(until, &end), code = real(condition, mutex, &end);
    return code == ETIMEDOUT && !is_last ? 0 : code;
}

/* Futexes that wait by the wall clock: the locks of Abseil, and so of Ray and gRPC. */
long syscall(long number, ...) {
    static call_kernel real;
    long given[6];
    va_list list;
    va_start(list, number);
    for (int place = 0; place < 6; place++) given[place] = va_arg(list, long);
    va_end(list);
    if (!real) real = (call_kernel)dlsym(RTLD_NEXT, "syscall");
    int command = (int)given[1] & FUTEX_CMD_MASK, is_last = 1;
    struct timespec end;
    if (number == SYS_futex && command == FUTEX_WAIT_BITSET && given[1] & FUTEX_CLOCK_REALTIME && given[3]) {
        is_last = slice((const struct timespec *)given[3], &end);
        given[3] = (long)&end;
    }
    long code = real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
    if (code == -1 && errno == ETIMEDOUT && !is_last) errno = EINTR;
    return code;
}
