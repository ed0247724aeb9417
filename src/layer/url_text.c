/*
 * layer/url_text.c: what a URL of a file may be; apart from what fetches one, so that a program that only reads it needs no HTTP.
 */
#include "layer/url.h"

bool url_ok(const char *text)
{
    const char *rest = str_starts(text, "https://")  ? text + strlen("https://")
                       : str_starts(text, "http://") ? text + strlen("http://")
                                                     : "/";
    const size_t host = strcspn(rest, "/?#");

    if (strlen(text) > URL_MAX || host == 0 || memchr(rest, '@', host))
        return false;
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || *p == '"' || *p == '\\')
            return false;
    return true;
}
