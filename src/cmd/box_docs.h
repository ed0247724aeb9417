/*
 * cmd/box_docs.h: manual page and shell completion of `socle-box`; made when it is built, to keep the program small.
 */
#pragma once

#include "base/base.h"

void box_docs_man(struct strbuf *out);
/* Completion for "bash", "zsh" or "fish".  False: another shell. */
bool box_docs_completion(const char *shell, struct strbuf *out);
