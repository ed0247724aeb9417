/*
 * layer/http.h: what all requests of ours have in common, by libcurl.
 */
#pragma once

#include "base/base.h"

#include <curl/curl.h>

enum { HTTP_REDIRECTS_MAX = 5 };

/* A request anew: TLS from 1.2 on, or plain HTTP, too; redirects never lead from the one to the other unless `plain`.  `error` has room for
 * CURL_ERROR_SIZE. */
void http_begin(CURL *c, const char *url, bool plain, char *error);
