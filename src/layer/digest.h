/*
 * layer/digest.h: SHA-256 of what comes in pieces, and its written form "sha256:HEX".
 * OpenSSL's, because it uses the CPU's own instructions: layers are hashed twice, packed and unpacked.
 */
#pragma once

#include "base/base.h"

enum { DIGEST_HEX = 64, DIGEST_TEXT = sizeof("sha256:") + DIGEST_HEX };

struct digest {
    void *ctx; /* EVP_MD_CTX */
    u64 len;   /* bytes so far */
};

void digest_init(struct digest *d);
void digest_add(struct digest *d, const void *p, size_t len);
/* "sha256:HEX" of all that was added, which ends the sum. */
void digest_end(struct digest *d, char ret[DIGEST_TEXT]);
/* Harmless on zeroed memory. */
void digest_fini(struct digest *d);

/* Is it 64 small hexadecimal digits? */
bool digest_hex_ok(const char *hex);
/* Is it "sha256:" and 64 small hexadecimal digits? */
bool digest_ok(const char *text);
/* The digits of a digest that is ok. */
static inline const char *digest_hex(const char *text)
{
    return text + strlen("sha256:");
}
