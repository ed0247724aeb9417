/*
 * layer/digest.c: SHA-256 of what comes in pieces, by OpenSSL.
 */
#include "layer/digest.h"

#include <openssl/evp.h>

void digest_init(struct digest *d)
{
    *d = (struct digest){ .ctx = EVP_MD_CTX_new() };
    must(d->ctx && EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL) == 1);
}

void digest_add(struct digest *d, const void *p, size_t len)
{
    must(EVP_DigestUpdate(d->ctx, p, len) == 1);
    d->len += len;
}

void digest_end(struct digest *d, char ret[DIGEST_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    u8 sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char *at = ret + strlen("sha256:");

    must(EVP_DigestFinal_ex(d->ctx, sum, &n) == 1 && n == DIGEST_HEX / 2);
    str_copy(ret, DIGEST_TEXT, "sha256:");
    for (unsigned i = 0; i < n; i++) {
        *at++ = digits[sum[i] >> 4];
        *at++ = digits[sum[i] & 15];
    }
    *at = 0;
}

void digest_fini(struct digest *d)
{
    EVP_MD_CTX_free(d->ctx);
    *d = (struct digest){};
}
