/*
 * api/login.h: what needs a password hashed, which takes a tenth of a second and 64 MiB: answers that come later (struct api_later).
 */
#pragma once

#include "api/api.h"

struct login_wish {
    const char *user, *password, *code, *from; /* code NULL: none */
    bool bearer;                               /* the key in the answer, in place of a cookie */
};
/* Who has too many failures behind him is refused at once. */
int login_begin(struct api_call *c, const struct login_wish *wish, struct err *e);
/* A new user, who is there when the password is hashed; `rec` is moved. */
int login_make_user(struct api_call *c, const char *user, struct user_rec *rec,
                    const char *password, struct err *e);
/* Sets a user's password; `old` NULL: whatever it was, else it must be that. */
int login_set_password(struct api_call *c, const char *user, const char *old, const char *password,
                       struct err *e);
/* Makes the first user, who may do everything, for who shows the setup code, and begins a session. */
int login_setup(struct api_call *c, const char *code, const char *user, const char *password,
                struct err *e);
