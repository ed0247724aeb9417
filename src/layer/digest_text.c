/*
 * layer/digest_text.c: the written form alone, for programs that make no sums and are not to load OpenSSL.
 */
#include "layer/digest.h"

bool digest_hex_ok(const char *hex)
{
    return strlen(hex) == DIGEST_HEX && strspn(hex, "0123456789abcdef") == DIGEST_HEX;
}

bool digest_ok(const char *text)
{
    return str_starts(text, "sha256:") && digest_hex_ok(digest_hex(text));
}
