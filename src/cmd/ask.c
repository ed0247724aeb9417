/*
 * cmd/ask.c: reads a line byte by byte, so that what follows is left for the next question.
 */
#include "cmd/ask.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

static int read_line(int fd, char *ret, size_t size, struct err *e)
{
    size_t len = 0;
    char c = 0;
    ssize_t n;

    while ((n = read(fd, &c, 1)) == 1 && c != '\n') {
        if (len + 1 == size)
            return err_set(e, -EINVAL, "an answer of at most %zu bytes is expected", size - 1);
        ret[len++] = c;
    }
    ret[len] = 0;
    return n == 1 || len ? 0 : err_set(e, -EINVAL, "there is no answer");
}

bool ask_is_tty(void)
{
    return isatty(STDIN_FILENO);
}

int ask_line(const char *question, char *ret, size_t size, bool echo, struct err *e)
{
    const bool tty = ask_is_tty();
    struct termios was, silent;
    bool hidden = false;
    int r;

    if (tty) {
        (void)fd_write_all(STDERR_FILENO, question, strlen(question));
        if (!echo && tcgetattr(STDIN_FILENO, &was) == 0) {
            silent = was;
            silent.c_lflag &= ~(tcflag_t)ECHO;
            hidden = tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
        }
    }
    r = read_line(STDIN_FILENO, ret, size, e);
    if (hidden) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
        (void)fd_write_all(STDERR_FILENO, "\n", 1);
    }
    return r;
}
