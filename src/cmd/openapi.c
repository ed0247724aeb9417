/*
 * cmd/openapi.c: prints the API's document, for what is generated of it while Socle is built (tools/web.py).
 */
#include "base/base.h"

#include "api/api.h"

#include <stdio.h>

int main(void)
{
    json_t *j = api_openapi();
    int r = json_dumpf(j, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);

    json_decref(j);
    return r < 0 || fflush(stdout) != 0;
}
