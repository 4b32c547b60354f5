/* What the bench programs share: time, latencies, sockets, files of lines. */

#ifndef COMMON_H
#define COMMON_H

#include <stddef.h>
#include <stdint.h>

/* Buckets grow by 1/64 of a power of two: a latency is known within 1.6 %. */
#define BUCKETS (64 * 40)

struct latencies {
    uint64_t count, max;
    uint64_t buckets[BUCKETS];
};

struct lines {
    size_t count;
    char **line; /* without the newline */
};

/* Print a reason as printf does, with errno where it is set, and exit with 1. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

uint64_t now_ns(void);    /* monotonic */
uint64_t used_cpu_ns(void); /* of this process so far */

void note_latency(struct latencies *latencies, uint64_t ns);
double percentile_ms(const struct latencies *latencies, double share); /* 0 to 1 */

int listen_unix(const char *path);  /* non-blocking, backlog 1024 */
int listen_loopback(int port);      /* likewise */
int connect_unix(const char *path); /* non-blocking from then on */
int accept_one(int listening);      /* non-blocking; -1 where there is none */

/* Write all, trying again where the other side does not read; -1 where it is gone. */
int write_all(int fd, const char *from, size_t length);

struct lines read_lines(const char *path);
char *read_file(const char *path, size_t *size);

#endif
