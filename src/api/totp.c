/*
 * api/totp.c: RFC 6238 over RFC 4226.
 */
#include "api/totp.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; /* RFC 4648, 6 */

enum { SECRET_BYTES = 20 };

void totp_secret(char ret[TOTP_SECRET_TEXT + 1])
{
    u8 random[TOTP_SECRET_TEXT];

    randombytes_buf(random, sizeof(random));
    for (u32 i = 0; i < TOTP_SECRET_TEXT; i++)
        ret[i] = alphabet[random[i] & 31];
    ret[TOTP_SECRET_TEXT] = 0;
    sodium_memzero(random, sizeof(random));
}

static int decode(const char *text, u8 ret[SECRET_BYTES])
{
    u32 bits = 0, n = 0, at = 0;

    if (strlen(text) != TOTP_SECRET_TEXT)
        return -EINVAL;
    for (; *text; text++) {
        const char *p = strchr(alphabet, *text);

        if (!p)
            return -EINVAL;
        bits = (bits << 5 | (u32)(p - alphabet)) & 0xffff;
        n += 5;
        if (n >= 8) {
            n -= 8;
            ret[at++] = (u8)(bits >> n);
        }
    }
    return 0;
}

/* RFC 4226, 5.3 */
static void code_of(const u8 secret[SECRET_BYTES], u64 step, char ret[TOTP_DIGITS + 1])
{
    u8 mac[EVP_MAX_MD_SIZE];
    const be64 message = be64_of(step);
    unsigned len = sizeof(mac);
    u32 at, v;

    must(HMAC(EVP_sha1(), secret, SECRET_BYTES, (const u8 *)&message, sizeof(message), mac, &len) &&
         len == 20);
    at = mac[19] & 15;
    v = (u32)(mac[at] & 0x7f) << 24 | (u32)mac[at + 1] << 16 | (u32)mac[at + 2] << 8 | mac[at + 3];
    str_fmt(ret, TOTP_DIGITS + 1, "%06u", v % 1000000);
}

int totp_check(const char *secret, const char *code, u64 now_s, u64 *ret_step)
{
    const u64 now = now_s / TOTP_STEP_SECONDS;
    u8 bytes[SECRET_BYTES];
    int r = decode(secret, bytes);

    if (r < 0)
        return r;
    r = -EKEYREJECTED;
    for (u64 step = now - 1; step <= now + 1; step++) {
        char want[TOTP_DIGITS + 1];

        code_of(bytes, step, want);
        if (strlen(code) == TOTP_DIGITS && sodium_memcmp(code, want, TOTP_DIGITS) == 0) {
            *ret_step = step;
            r = 0;
        }
        sodium_memzero(want, sizeof(want));
    }
    sodium_memzero(bytes, sizeof(bytes));
    return r;
}
