/*
 * layer/digest_text.c: the written form alone, for programs that make no sums and are not to load OpenSSL.
 */
#include "layer/digest.h"

bool digest_ok(const char *text)
{
    return str_starts(text, "sha256:") && strlen(text) == DIGEST_TEXT - 1 &&
           strspn(digest_hex(text), "0123456789abcdef") == DIGEST_HEX;
}
