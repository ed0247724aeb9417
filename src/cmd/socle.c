/*
 * cmd/socle.c: the program `socle`: hands over to a command, or answers what is asked of the program itself.
 */
#include "base/base.h"

#include "base/exit_status.h"
#include "cmd/command.h"
#include "cmd/more.h"
#include "cmd/names.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* False: there is no such kind. */
static bool names_status(const char *kind, int *ret_status)
{
    struct strbuf out = {};

    if (!names_add(kind, &out))
        return false;
    *ret_status = out.len ? command_print(&out) : 0;
    return true;
}

/* What is asked by an option in place of a command.  False: it is a command. */
static bool program_option(int argc, char **argv, int *ret_status)
{
    struct strbuf out = {};

    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        docs_overview(&out);
    else if (strcmp(argv[1], "--version") == 0)
        strbuf_add(&out, "socle %s\n", SOCLE_VERSION);
    else if (strcmp(argv[1], "--man") == 0)
        docs_man(&out);
    else if (argc == 3 && strcmp(argv[1], "--names") == 0)
        return names_status(argv[2], ret_status);
    else if (argc < 3 || strcmp(argv[1], "--completion") != 0 || !docs_completion(argv[2], &out))
        return false;
    *ret_status = command_print(&out);
    return true;
}

/* Descriptors 0 to 2 are what they are called, so that no file of ours becomes one of them. */
static bool open_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

int main(int argc, char **argv)
{
    const struct command *c;
    int status;

    if (!open_standard())
        return EXIT_STATUS_START;
    log_set_name("socle");
    more_argv = argv;
    if (argc < 2) {
        log_error("a command is needed; `socle help` lists them");
        return EXIT_STATUS_USAGE;
    }
    if (program_option(argc, argv, &status))
        return status;
    c = command_find(argv[1]);
    if (!c)
        return command_unknown(argv[1]);
    return c->main ? c->main(argc - 2, argv + 2) : verb_run(c, argc - 2, argv + 2);
}
