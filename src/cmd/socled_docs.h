/*
 * cmd/socled_docs.h: the manual page of `socled`; made when it is built.
 */
#pragma once

#include "base/base.h"

void socled_docs_man(struct strbuf *out);
