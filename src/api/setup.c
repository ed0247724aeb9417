/*
 * api/setup.c: the code by which the first user is made from a browser.  Only the host shows it (`socle info` of who owns it, socled's log), so
 * whoever has it could make a user on the host as well.
 *   (1) There is one only while there are no users: the first that is made, by whatever way, ends it.
 *   (2) It has 80 random bits; who guesses is made to wait as at a login (tries.c).
 */
#include "api/access.h"

#include <ctype.h>
#include <sodium.h>

/* Crockford's base 32 without letters that are taken for digits, in small letters: easily typed. */
static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

enum { GROUP = 4 };

void access_setup_begin(struct access *a)
{
    if (a->users)
        return;
    for (u32 i = 0; i < ACCESS_SETUP_TEXT; i++)
        a->setup[i] = i % (GROUP + 1) == GROUP ? '-' : digits[randombytes_uniform(32)];
    a->setup[ACCESS_SETUP_TEXT] = 0;
}

bool access_setup_is(const struct access *a, const char *code)
{
    char typed[ACCESS_SETUP_TEXT + 1] = "";
    u32 n = 0;

    for (const char *p = code; *p; p++) {
        if (*p == '-' || *p == ' ')
            continue;
        if (n % (GROUP + 1) == GROUP && n < ACCESS_SETUP_TEXT)
            typed[n++] = '-';
        if (n == ACCESS_SETUP_TEXT)
            return false;
        typed[n++] = (char)tolower((unsigned char)*p);
    }
    return a->setup[0] && sodium_memcmp(typed, a->setup, sizeof(typed)) == 0;
}
