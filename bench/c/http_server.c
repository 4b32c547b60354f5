/*
 * An Odoo that answers at once: the three points of mail_delivery, HTTP/1.1, one thread, epoll.
 *
 * usage: http_server PORT ALIASES TRANSPORT
 *
 * ALIASES and TRANSPORT are files, served as the pages of the list with one ETag. A message is
 * read and forgotten; each of its recipients is answered 250. Answers carry the mark. Any token
 * will do. A list that changes is not for this one.
 */

#include "common.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ETAG "\"1\""
#define JSON "application/json"
#define HEAD 65536 /* octets of a request's head at most */

struct connection {
    int fd;
    size_t filled;
    uint64_t body; /* octets of the body still to come */
    int reading;   /* the body of a message; its head is in `input` */
    size_t head_length;
    char input[HEAD + 1];
};

struct page {
    char *text;
    size_t size;
};

static struct page aliases, transport;

/* The value of a field of a head that ends with a NUL, and its length; NULL if it is not there. */
static const char *field(const char *head, const char *name, size_t *length)
{
    size_t name_length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_length) || line[name_length] != ':')
            continue;
        line += name_length + 1;
        line += strspn(line, " ");
        *length = strcspn(line, "\r");
        return line;
    }
    return NULL;
}

static int respond(int fd, const char *status, const char *type, const char *body, size_t length)
{
    static char output[65536];
    int head = snprintf(output, sizeof output,
                        "HTTP/1.1 %s\r\nX-Mail-Delivery: 1\r\nETag: " ETAG "\r\n"
                        "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                        status, type, length);
    if (length < sizeof output - (size_t)head) { /* one packet */
        memcpy(output + head, body, length);
        return write_all(fd, output, (size_t)head + length);
    }
    return write_all(fd, output, (size_t)head) < 0 ? -1 : write_all(fd, body, length);
}

static int give_verdict(struct connection *connection)
{
    static char body[4 * HEAD];
    size_t length = 0;
    const char *at = field(connection->input, "X-Mail-Recipients", &length);
    char *to = body + sprintf(body, "{\"recipients\":{");
    for (const char *end = at + length; at && at < end;) {
        int size = (int)strcspn(at, ",\r");
        if (to > body + sizeof body - size - 80)
            return -1;
        to += sprintf(to, "\"%.*s\":{\"code\":250,\"status\":\"2.0.0\",\"text\":\"stored\"}%s", size,
                      at, at + size < end ? "," : "");
        at += size + 1;
    }
    to += sprintf(to, "}}");
    return respond(connection->fd, "200 OK", JSON, body, (size_t)(to - body));
}

static int give_page(struct connection *connection, struct page page, const char *type)
{
    size_t length;
    const char *known = field(connection->input, "If-None-Match", &length);
    if (known && length == strlen(ETAG) && !memcmp(known, ETAG, length))
        return respond(connection->fd, "304 Not Modified", type, "", 0);
    return respond(connection->fd, "200 OK", type, page.text, page.size);
}

static int answer(struct connection *connection)
{
    const char *head = connection->input;
    if (!strncmp(head, "POST ", 5))
        return give_verdict(connection);
    if (!strncmp(head, "GET ", 4) && strstr(head, "/aliases"))
        return give_page(connection, aliases, JSON);
    if (!strncmp(head, "GET ", 4))
        return give_page(connection, transport, "text/plain");
    return respond(connection->fd, "405 Method Not Allowed", "text/plain", "", 0);
}

/* Take what has come of a head; -1 where it is none. */
static int take_head(struct connection *connection)
{
    connection->input[connection->filled] = 0;
    char *end = strstr(connection->input, "\r\n\r\n");
    if (!end)
        return connection->filled < HEAD ? 0 : -1;
    size_t length;
    end[2] = 0; /* the fields end with CRLF, the head with NUL */
    const char *size = field(connection->input, "Content-Length", &length);
    connection->body = size ? strtoull(size, NULL, 10) : 0;
    connection->head_length = (size_t)(end + 4 - connection->input);
    size_t extra = connection->filled - connection->head_length;
    if (extra > connection->body)
        return -1; /* nobody pipelines HTTP */
    connection->body -= extra;
    connection->reading = 1;
    return 0;
}

static int proceed(struct connection *connection)
{
    if (!connection->reading && take_head(connection) < 0)
        return -1;
    if (!connection->reading || connection->body)
        return 0;
    connection->reading = 0;
    connection->filled = 0;
    return answer(connection);
}

static void receive(struct connection *connection)
{
    static char rest[1 << 18];
    ssize_t got;
    if (connection->reading)
        got = read(connection->fd, rest, sizeof rest);
    else
        got = read(connection->fd, connection->input + connection->filled,
                   HEAD - connection->filled);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0 && connection->reading)
        connection->body -= (uint64_t)got < connection->body ? (uint64_t)got : connection->body;
    else if (got > 0)
        connection->filled += (size_t)got;
    if (got <= 0 || proceed(connection) < 0) {
        close(connection->fd);
        free(connection);
    }
}

static void take(int poll, int listening)
{
    int fd = accept_one(listening);
    if (fd < 0)
        return;
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        fail("calloc");
    connection->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail("usage: http_server PORT ALIASES TRANSPORT");
    aliases.text = read_file(argv[2], &aliases.size);
    transport.text = read_file(argv[3], &transport.size);
    signal(SIGPIPE, SIG_IGN); /* a client that is gone is seen in writing */
    int listening = listen_loopback(atoi(argv[1])), poll = epoll_create1(EPOLL_CLOEXEC);
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
