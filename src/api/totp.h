/*
 * api/totp.h: one-time codes (RFC 6238): six digits, 30 seconds, HMAC-SHA-1, which is what authenticator programs expect.
 */
#pragma once

#include "base/base.h"

enum { TOTP_SECRET_TEXT = 32, TOTP_STEP_SECONDS = 30, TOTP_DIGITS = 6 };

/* A new secret of 160 bits as base32. */
void totp_secret(char ret[TOTP_SECRET_TEXT + 1]);
/* Is it the code of now, or of the step before or after?  Then *ret_step is that one.  -EKEYREJECTED; -EINVAL: the secret is none. */
int totp_check(const char *secret, const char *code, u64 now_s, u64 *ret_step);
