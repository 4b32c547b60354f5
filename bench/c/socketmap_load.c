/*
 * A load of lookups.
 *
 * usage: socketmap_load SOCKET LOOKUPS CONNECTIONS DEPTH SECONDS
 *
 * LOOKUPS is a file of lines "REQUEST<tab>ANSWER", which are asked in random order. Each
 * connection has DEPTH requests under way: 1 is what Postfix does, more is pipelined. Every
 * answer is compared; a wrong one ends the run. The first tenth of the time is not counted.
 *
 * Prints one line of JSON. "all_lookups" has those that were not counted, too; "cpu" is the
 * share of its own processor that the load took: near 1 it may itself have been the limit.
 */

#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct netstring {
    char *text;
    size_t length;
};

struct lookup {
    struct netstring request, answer;
};

struct flight { /* one request under way */
    const struct lookup *lookup;
    uint64_t since;
};

struct connection {
    int fd;
    uint32_t seed;
    size_t oldest, filled; /* of the flights, a ring; of the input */
    struct flight *flights;
    char input[65536];
};

static struct lookup *lookups;
static size_t lookup_count, depth;
static struct latencies latencies;
static uint64_t all, counts_from; /* lookups; ns */

static struct netstring netstring(const char *payload)
{
    struct netstring made;
    size_t length = strlen(payload);
    made.text = malloc(length + 16);
    if (!made.text)
        fail("malloc");
    made.length = (size_t)sprintf(made.text, "%zu:%s,", length, payload);
    return made;
}

static void load(const char *path)
{
    struct lines lines = read_lines(path);
    lookup_count = lines.count;
    lookups = calloc(lines.count, sizeof *lookups);
    if (!lookups || !lines.count)
        fail("%s: no lookups", path);
    for (size_t at = 0; at < lines.count; at++) {
        char *tab = strchr(lines.line[at], '\t');
        if (!tab)
            fail("%s: line %zu has no tab", path, at + 1);
        *tab = 0;
        lookups[at] = (struct lookup){netstring(lines.line[at]), netstring(tab + 1)};
    }
}

static const struct lookup *any(struct connection *connection)
{
    uint32_t seed = connection->seed; /* xorshift */
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    connection->seed = seed;
    return &lookups[(uint64_t)seed * lookup_count >> 32];
}

/* Ask so many lookups in one write; `place` is that of the first in the ring. */
static void ask(struct connection *connection, size_t place, size_t count, uint64_t now)
{
    static char output[1 << 20];
    size_t length = 0;
    for (size_t at = 0; at < count; at++) {
        const struct lookup *lookup = any(connection);
        if (length + lookup->request.length > sizeof output)
            fail("too much under way");
        memcpy(output + length, lookup->request.text, lookup->request.length);
        length += lookup->request.length;
        connection->flights[(place + at) % depth] = (struct flight){lookup, now};
    }
    if (write_all(connection->fd, output, length) < 0)
        fail("write");
}

/* Take the answers that are there, and ask as many again. */
static void receive(struct connection *connection)
{
    ssize_t got = read(connection->fd, connection->input + connection->filled,
                       sizeof connection->input - connection->filled);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        fail("the server closed a connection");
    connection->filled += (size_t)got;
    uint64_t now = now_ns();
    size_t at = 0, first = connection->oldest, count = 0;
    while (count < depth) {
        const struct flight *flight = &connection->flights[connection->oldest];
        size_t length = flight->lookup->answer.length;
        size_t there = connection->filled - at < length ? connection->filled - at : length;
        if (memcmp(connection->input + at, flight->lookup->answer.text, there))
            fail("%s was answered %.*s", flight->lookup->request.text, (int)there,
                 connection->input + at);
        if (there < length)
            break;
        all++;
        if (now >= counts_from)
            note_latency(&latencies, now - flight->since);
        connection->oldest = (connection->oldest + 1) % depth;
        at += length;
        count++;
    }
    connection->filled -= at;
    memmove(connection->input, connection->input + at, connection->filled);
    if (count)
        ask(connection, first, count, now);
}

static void connect_one(struct connection *connection, int poll, const char *path, uint32_t seed)
{
    connection->fd = connect_unix(path);
    connection->seed = seed;
    connection->flights = calloc(depth, sizeof *connection->flights);
    if (!connection->flights)
        fail("calloc");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(poll, EPOLL_CTL_ADD, connection->fd, &event);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        fail("usage: socketmap_load SOCKET LOOKUPS CONNECTIONS DEPTH SECONDS");
    size_t count = (size_t)atoi(argv[3]);
    depth = (size_t)atoi(argv[4]);
    double seconds = atof(argv[5]);
    if (!count || !depth || seconds <= 0)
        fail("connections, depth and seconds are positive");
    load(argv[2]);
    struct connection *connections = calloc(count, sizeof *connections);
    if (!connections)
        fail("calloc");
    int poll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t at = 0; at < count; at++)
        connect_one(&connections[at], poll, argv[1], (uint32_t)(2463534242u + at * 7919));

    uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1.1e9), cpu = 0;
    counts_from = start + (uint64_t)(seconds * 1e8);
    for (size_t at = 0; at < count; at++)
        ask(&connections[at], 0, depth, start);
    struct epoll_event events[256];
    for (uint64_t now = start; now < end; now = now_ns()) {
        if (!cpu && now >= counts_from)
            cpu = used_cpu_ns();
        int ready = epoll_wait(poll, events, 256, 1000);
        for (int at = 0; at < ready; at++)
            receive(events[at].data.ptr);
    }
    double took = (double)(now_ns() - counts_from) / 1e9;
    printf("{\"lookups\": %llu, \"seconds\": %.3f, \"lookups_per_second\": %.0f, "
           "\"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f, \"cpu\": %.3f, "
           "\"all_lookups\": %llu}\n",
           (unsigned long long)latencies.count, took, (double)latencies.count / took,
           percentile_ms(&latencies, 0.5), percentile_ms(&latencies, 0.99),
           percentile_ms(&latencies, 1), (double)(used_cpu_ns() - cpu) / 1e9 / took,
           (unsigned long long)all);
}
