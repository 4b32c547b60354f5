/*
 * A load of mail over LMTP.
 *
 * usage: lmtp_load SOCKET RECIPIENTS SESSIONS SIZE RECIPIENTS_EACH WARM_UP SECONDS
 *
 * RECIPIENTS is a file of one address a line. Each session keeps its connection and sends one
 * message after the other, as Postfix does: MAIL, all RCPT and DATA in one write, the message
 * when 354 has come, the next transaction when all recipients are answered. SIZE is in octets.
 * After WARM_UP seconds it counts, and after SECONDS more it begins no further message; the time
 * of those under way counts. Where few messages fit into the time, WARM_UP is to be 0: else those
 * under way at its end would count whole. Every reply is looked at; one that is not as expected
 * ends the run. A message has a header with a Message-ID of its own and a body as of base64.
 *
 * Prints one line of JSON: the latency is that of a whole transaction, "dot" that from the last
 * octet to the last reply; "all_messages" has those that were not counted, too; "cpu" is the share of its own
 * processor that the load took.
 *
 * Source: RFC 2033.
 */

#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEADER 512

enum state { GREETING, LHLO, ENVELOPE, MESSAGE, DOT };

struct session {
    int fd;
    enum state state;
    size_t owed;      /* replies to come before the next step */
    size_t sent;      /* octets of the message */
    size_t filled;    /* of the input */
    uint32_t since_writable;
    uint64_t begun, dotted;
    size_t header_length;
    char header[HEADER];
    char input[65536];
};

static struct lines recipients;
static size_t recipients_each, body_length;
static char *body; /* ends with the dot */
static struct latencies transactions, dots;
static uint64_t begun, ended, counts_from, counts_to; /* messages; ns */
static int poll_fd;

static void make_body(size_t size)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t seed = 2463534242u;
    body = malloc(size + 16);
    if (!body)
        fail("a message of %zu octets", size);
    for (size_t at = 0; at < size; at++) {
        seed = seed * 1664525 + 1013904223;
        body[at] = at % 78 == 76 ? '\r' : at % 78 == 77 ? '\n' : alphabet[seed >> 26];
    }
    size_t start = size < 2 ? 0 : size - 2;
    memcpy(body + start, "\r\n.\r\n", 5);
    if (start && body[start - 1] == '\r')
        body[start - 1] = 'A'; /* no bare CR */
    body_length = start + 5;
}

static void make_header(struct session *session)
{
    session->header_length = (size_t)snprintf(
        session->header, HEADER,
        "Received: by mx.example.test (Postfix) id 4ZQ%010llu;\r\n"
        "\tMon, 1 Jun 2026 12:00:00 +0000 (UTC)\r\n"
        "From: Customer <customer@client.test>\r\nTo: Info <info@example.com>\r\n"
        "Subject: A question\r\nDate: Mon, 1 Jun 2026 12:00:00 +0000\r\n"
        "Message-ID: <%llu.%d@client.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        (unsigned long long)begun, (unsigned long long)begun, (int)getpid());
}

static void say(struct session *session, const char *text, size_t length)
{
    if (write_all(session->fd, text, length) < 0)
        fail("write");
}

static void begin(struct session *session, uint64_t now)
{
    static char output[1 << 20];
    char *to = output;
    if (now >= counts_to) {
        close(session->fd);
        session->fd = -1;
        return;
    }
    make_header(session);
    to += sprintf(to, "MAIL FROM:<customer@client.test> SIZE=%zu\r\n",
                  session->header_length + body_length);
    for (size_t at = 0; at < recipients_each; at++)
        to += sprintf(to, "RCPT TO:<%s>\r\n",
                      recipients.line[(begun * recipients_each + at) % recipients.count]);
    to += sprintf(to, "DATA\r\n");
    begun++;
    session->state = ENVELOPE;
    session->owed = 2 + recipients_each;
    session->sent = 0;
    session->begun = now;
    say(session, output, (size_t)(to - output));
}

static void listen_for(struct session *session, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = session};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, session->fd, &event);
}

/* Send as much of the message as goes. */
static void send_message(struct session *session)
{
    size_t whole = session->header_length + body_length;
    while (session->sent < whole) {
        size_t in_header =
            session->sent < session->header_length ? session->header_length - session->sent : 0;
        size_t in_body = session->sent - (session->header_length - in_header);
        struct iovec parts[2] = {
            {session->header + session->sent, in_header},
            {body + in_body, body_length - in_body},
        };
        if (!in_header)
            parts[0].iov_base = session->header;
        ssize_t wrote = writev(session->fd, parts, 2);
        if (wrote < 0 && errno == EAGAIN) {
            if (!session->since_writable)
                listen_for(session, EPOLLIN | EPOLLOUT);
            session->since_writable = 1;
            return;
        }
        if (wrote < 0)
            fail("write");
        session->sent += (size_t)wrote;
    }
    if (session->since_writable)
        listen_for(session, EPOLLIN);
    session->since_writable = 0;
    session->state = DOT;
    session->owed = recipients_each;
    session->dotted = now_ns();
}

static void step(struct session *session, uint64_t now)
{
    if (session->state == GREETING) {
        session->state = LHLO;
        session->owed = 1;
        say(session, "LHLO mx.example.test\r\n", 22);
    } else if (session->state == LHLO) {
        begin(session, now);
    } else if (session->state == ENVELOPE) {
        session->state = MESSAGE;
        send_message(session);
    } else {
        if (now >= counts_from) {
            ended++;
            note_latency(&transactions, now - session->begun);
            note_latency(&dots, now - session->dotted);
        }
        begin(session, now);
    }
}

/* The last line of a reply has no hyphen after its code. */
static void take_line(struct session *session, const char *line, uint64_t now)
{
    int go_ahead = session->state == ENVELOPE && session->owed == 1;
    const char *code = session->state == GREETING ? "220" : go_ahead ? "354" : "250";
    if (!session->owed)
        fail("a reply that nobody asked for: %s", line);
    if (strncmp(line, code, 3))
        fail("expected %s, not %s", code, line);
    if (line[3] != '-' && --session->owed == 0)
        step(session, now);
}

static void receive(struct session *session)
{
    ssize_t got = read(session->fd, session->input + session->filled,
                       sizeof session->input - 1 - session->filled);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        fail("the server closed a session");
    session->filled += (size_t)got;
    session->input[session->filled] = 0;
    uint64_t now = now_ns();
    char *at = session->input;
    for (char *newline; session->fd >= 0 && (newline = strchr(at, '\n')); at = newline + 1) {
        *newline = 0;
        take_line(session, at, now);
    }
    session->filled -= (size_t)(at - session->input);
    memmove(session->input, at, session->filled);
}

static void connect_one(struct session *session, const char *path)
{
    session->fd = connect_unix(path);
    session->owed = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, session->fd, &event);
}

static void print(size_t size, uint64_t cpu)
{
    double took = (double)(now_ns() - counts_from) / 1e9;
    printf("{\"messages\": %llu, \"seconds\": %.3f, \"messages_per_second\": %.2f, "
           "\"octets_per_second\": %.0f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, "
           "\"dot_p50_ms\": %.3f, \"dot_p99_ms\": %.3f, \"cpu\": %.3f, \"all_messages\": %llu}\n",
           (unsigned long long)ended, took, (double)ended / took,
           (double)ended * (double)size / took, percentile_ms(&transactions, 0.5),
           percentile_ms(&transactions, 0.99), percentile_ms(&transactions, 1),
           percentile_ms(&dots, 0.5), percentile_ms(&dots, 0.99),
           (double)(used_cpu_ns() - cpu) / 1e9 / took, (unsigned long long)begun);
}

int main(int argc, char **argv)
{
    if (argc != 8)
        fail("usage: lmtp_load SOCKET RECIPIENTS SESSIONS SIZE RECIPIENTS_EACH WARM_UP SECONDS");
    recipients = read_lines(argv[2]);
    size_t count = (size_t)atoi(argv[3]), size = (size_t)atol(argv[4]), alive = count;
    recipients_each = (size_t)atoi(argv[5]);
    double warm_up = atof(argv[6]), seconds = atof(argv[7]);
    if (!count || !recipients_each || !recipients.count || seconds <= 0 || size < 2 * HEADER)
        fail("sessions, recipients and seconds are positive; a message has 1,024 octets or more");
    make_body(size - HEADER);
    struct session *sessions = calloc(count, sizeof *sessions);
    if (!sessions)
        fail("calloc");
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t at = 0; at < count; at++)
        connect_one(&sessions[at], argv[1]);

    uint64_t start = now_ns(), cpu = 0;
    counts_from = start + (uint64_t)(warm_up * 1e9);
    counts_to = counts_from + (uint64_t)(seconds * 1e9);
    struct epoll_event events[256];
    while (alive) {
        if (!cpu && now_ns() >= counts_from)
            cpu = used_cpu_ns();
        int ready = epoll_wait(poll_fd, events, 256, 1000);
        for (int at = 0; at < ready; at++) {
            struct session *session = events[at].data.ptr;
            if (session->state == MESSAGE && events[at].events & EPOLLOUT)
                send_message(session);
            if (events[at].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(session);
            if (session->fd < 0)
                alive--;
        }
    }
    print(size, cpu);
}
