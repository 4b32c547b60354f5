#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void fail(const char *format, ...)
{
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, error ? ": %s\n" : "\n", strerror(error));
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t used_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* The bucket of a latency: its power of two, and the six binary digits after the first. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < 64)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns);
    unsigned bucket = (power - 5) * 64 + (unsigned)(ns >> (power - 6) & 63);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double middle_of(unsigned bucket)
{
    if (bucket < 64)
        return bucket;
    uint64_t width = (uint64_t)1 << (bucket / 64 - 1);
    return (double)((64 + bucket % 64) * width) + (double)width / 2;
}

void note_latency(struct latencies *latencies, uint64_t ns)
{
    latencies->count++;
    latencies->buckets[bucket_of(ns)]++;
    if (ns > latencies->max)
        latencies->max = ns;
}

double percentile_ms(const struct latencies *latencies, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)latencies->count), seen = 0;
    if (share >= 1)
        return (double)latencies->max / 1e6;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        seen += latencies->buckets[bucket];
        if (seen > wanted)
            return middle_of(bucket) / 1e6;
    }
    return 0;
}

static struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        fail("%s: the path is too long", path);
    strcpy(address.sun_path, path);
    return address;
}

static int listening(int family, const void *address, socklen_t size, const char *name)
{
    int one = 1, fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, address, size) < 0 || listen(fd, 1024) < 0)
        fail("%s", name);
    return fd;
}

int listen_unix(const char *path)
{
    struct sockaddr_un address = unix_address(path);
    unlink(path);
    int fd = listening(AF_UNIX, &address, sizeof address, path);
    chmod(path, 0666); /* Postfix's processes are not root's */
    return fd;
}

int listen_loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return listening(AF_INET, &address, sizeof address, "127.0.0.1");
}

int connect_unix(const char *path)
{
    struct sockaddr_un address = unix_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        fail("%s", path);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int accept_one(int fd)
{
    int one = 1, accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0 && errno != EAGAIN)
        fail("accept");
    if (accepted >= 0)
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* no harm elsewhere */
    return accepted;
}

char *read_file(const char *path, size_t *size)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        fail("%s", path);
    char *text = malloc((size_t)status.st_size + 1);
    size_t done = 0;
    while (text && done < (size_t)status.st_size) {
        ssize_t got = read(fd, text + done, (size_t)status.st_size - done);
        if (got <= 0)
            fail("%s", path);
        done += (size_t)got;
    }
    if (!text)
        fail("%s", path);
    close(fd);
    text[done] = 0;
    *size = done;
    return text;
}

struct lines read_lines(const char *path)
{
    size_t size, room = 0;
    struct lines lines = {0};
    char *at = read_file(path, &size);
    for (char *end; *at; at = end + 1) {
        end = strchrnul(at, '\n');
        if (lines.count == room) {
            room = room ? room * 2 : 1024;
            lines.line = realloc(lines.line, room * sizeof *lines.line);
            if (!lines.line)
                fail("%s", path);
        }
        lines.line[lines.count++] = at;
        if (!*end)
            break;
        *end = 0;
    }
    return lines;
}

int write_all(int fd, const char *from, size_t length)
{
    while (length) {
        ssize_t done = write(fd, from, length);
        if (done < 0 && errno != EAGAIN)
            return -1;
        if (done > 0) {
            from += done;
            length -= (size_t)done;
        }
    }
    return 0;
}
