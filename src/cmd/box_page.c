/*
 * cmd/box_page.c: the program that writes the manual page (`man`) or a shell's completion of `socle-box`, and the manual pages of `socled`
 * and of the API, when those are built.
 */
#include "cmd/api_docs.h"
#include "cmd/box_docs.h"
#include "cmd/socled_docs.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    AUTO(strbuf) struct strbuf out = {};

    if (argc == 2 && strcmp(argv[1], "man") == 0) {
        box_docs_man(&out);
    } else if (argc == 2 && strcmp(argv[1], "socled") == 0) {
        socled_docs_man(&out);
    } else if (argc == 2 && strcmp(argv[1], "api") == 0) {
        api_docs_man(&out);
    } else if (argc != 2 || !box_docs_completion(argv[1], &out)) {
        fprintf(stderr, "usage: box_page man|bash|zsh|fish|socled|api\n");
        return 2;
    }
    return fd_write_all(STDOUT_FILENO, out.text, out.len) < 0;
}
