/*
 * os/control.h: the control socket FOLDER/control: one JSON object a line in, one a line out, as that of a machine (doc/control.md).
 */
#pragma once

#include "base/base.h"

#include "base/loop.h"

enum { OS_CONTROL_CLIENTS = 16, OS_CONTROL_LINE = 64 * 1024 };

struct os;

struct os_control_client {
    struct os *os;
    int fd;     /* -1: none */
    bool holds; /* the container stands still as long as it is there */
    struct loop_fd watch;
    struct strbuf in, out;
};

struct os_control {
    int listener;
    struct loop_fd door;
    char *path;
    struct os_control_client client[OS_CONTROL_CLIENTS];
};

int os_control_open(struct os *o, struct err *e);
/* What was answered is sent as far as the clients take it. */
void os_control_close(struct os *o);
