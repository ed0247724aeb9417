/*
 * layer/http.c: what all requests of ours have in common.
 */
#include "layer/http.h"

enum { CONNECT_SECONDS = 30, SILENT_SECONDS = 60 };

void http_begin(CURL *c, const char *url, bool plain, char *error)
{
    const char *protocols = plain ? "http,https" : "https";

    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, protocols);
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1l);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)HTTP_REDIRECTS_MAX);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1l);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)SILENT_SECONDS);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1l);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "socle");
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error);
}
