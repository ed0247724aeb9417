/*
 * cmd/api_docs.h: the manual page of the API; made when Socle is built.
 */
#pragma once

#include "base/base.h"

void api_docs_man(struct strbuf *out);
