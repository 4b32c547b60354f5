/*
 * The least that a socketmap server can be: one thread, epoll, a hash table.
 *
 * usage: socketmap_server SOCKET ADDRESSES NEXTHOP
 *
 * ADDRESSES is a file of one address a line. "aliases ADDRESS" is answered "OK ADDRESS",
 * "transport ADDRESS" "OK NEXTHOP", all else "NOTFOUND ". It folds nothing, counts nothing
 * and has no time limits: what it reaches is what the machine and the protocol allow.
 *
 * Source: socketmap_table(5).
 */

#include "common.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define INPUT 16384   /* octets of requests that may wait; a request has 10,010 at most */
#define ANSWER 1024   /* octets of one answer at most */

struct connection {
    int fd;
    size_t filled;
    char input[INPUT];
};

static struct lines addresses;
static char **table; /* open addressing, a power of two of places */
static size_t mask;
static const char *nexthop;
static size_t nexthop_length;

static size_t hashed(const char *key, size_t length)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t at = 0; at < length; at++)
        hash = (hash ^ (unsigned char)key[at]) * 1099511628211u;
    return (size_t)(hash ^ hash >> 32);
}

static char **place_of(const char *key, size_t length)
{
    size_t place = hashed(key, length) & mask;
    while (table[place] && (strncmp(table[place], key, length) || table[place][length]))
        place = (place + 1) & mask;
    return &table[place];
}

static void load(const char *path)
{
    addresses = read_lines(path);
    for (mask = 1; mask < addresses.count * 2 + 1; mask *= 2)
        ;
    table = calloc(mask, sizeof *table);
    if (!table)
        fail("%s", path);
    mask--;
    for (size_t at = 0; at < addresses.count; at++)
        *place_of(addresses.line[at], strlen(addresses.line[at])) = addresses.line[at];
}

static char *put_netstring(char *to, const char *text, size_t length)
{
    to += sprintf(to, "%zu:OK ", length + 3);
    memcpy(to, text, length);
    to[length] = ',';
    return to + length + 1;
}

/* Write the answer to one request; return where it ends. */
static char *answer(char *to, const char *request, size_t length)
{
    const char *space = memchr(request, ' ', length);
    if (space) {
        const char *key = space + 1;
        size_t key_length = length - (size_t)(key - request);
        if (length < ANSWER - 16 && *place_of(key, key_length)) {
            if (space - request == 7 && !memcmp(request, "aliases", 7))
                return put_netstring(to, key, key_length);
            if (space - request == 9 && !memcmp(request, "transport", 9))
                return put_netstring(to, nexthop, nexthop_length);
        }
    }
    memcpy(to, "9:NOTFOUND ,", 12);
    return to + 12;
}

static void end(struct connection *connection)
{
    close(connection->fd);
    free(connection);
}

/* Answer every whole request; return -1 where the input is no netstring or the client is gone. */
static int serve(struct connection *connection)
{
    char output[65536], *to = output;
    const char *at = connection->input, *stop = at + connection->filled;
    while (at < stop) {
        const char *digit = at;
        size_t length = 0;
        while (digit < stop && *digit >= '0' && *digit <= '9' && digit - at < 6)
            length = length * 10 + (size_t)(*digit++ - '0');
        if (digit == stop)
            break;
        if (*digit != ':' || length > INPUT - 8)
            return -1;
        if ((size_t)(stop - digit) < length + 2)
            break;
        if (digit[1 + length] != ',')
            return -1;
        if (to > output + sizeof output - ANSWER) {
            if (write_all(connection->fd, output, (size_t)(to - output)) < 0)
                return -1;
            to = output;
        }
        to = answer(to, digit + 1, length);
        at = digit + length + 2;
    }
    connection->filled = (size_t)(stop - at);
    memmove(connection->input, at, connection->filled);
    return write_all(connection->fd, output, (size_t)(to - output));
}

static void receive(struct connection *connection)
{
    ssize_t got = read(connection->fd, connection->input + connection->filled,
                       INPUT - connection->filled);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0)
        connection->filled += (size_t)got;
    if (got <= 0 || serve(connection) < 0)
        end(connection);
}

static void take(int poll, int listening)
{
    int fd = accept_one(listening);
    if (fd < 0)
        return;
    struct connection *connection = malloc(sizeof *connection);
    if (!connection)
        fail("malloc");
    connection->fd = fd;
    connection->filled = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail("usage: socketmap_server SOCKET ADDRESSES NEXTHOP");
    load(argv[2]);
    nexthop = argv[3];
    nexthop_length = strlen(nexthop);
    if (nexthop_length > ANSWER - 16)
        fail("the next hop is too long");
    signal(SIGPIPE, SIG_IGN); /* a client that is gone is seen in writing */
    int listening = listen_unix(argv[1]), poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, events[256]; /* no pointer: who listens */
    epoll_ctl(poll, EPOLL_CTL_ADD, listening, &event);
    for (;;) {
        int count = epoll_wait(poll, events, 256, -1);
        for (int at = 0; at < count; at++) {
            if (events[at].data.ptr)
                receive(events[at].data.ptr);
            else
                take(poll, listening);
        }
    }
}
