/*
 * api/tries.c: logins that fail make the next ones wait: those of the same user, and those from the same address.
 * After `free` failures the wait doubles from one second to `wait_max`; a success forgives its user, and of its address what it began.  Not
 * kept over a restart.  The table is bounded: who fills it pushes out those that may try again soonest.
 */
#include "api/access.h"

enum { FORGET_SECONDS = 3600 };

/* A user's wait is short: whoever knows a name can make it wait. */
static const struct {
    const char *kind;
    u32 free, wait_max; /* seconds */
} kinds[] = {
    { "user", 5, 60 },
    { "from", 20, 900 },
};

static void write_who(char *to, size_t size, const char *kind, const char *name)
{
    str_fmt(to, size, "%s %s", kind, name);
}

static struct try *find(struct access *a, const char *who)
{
    for (u32 i = 0; i < TRIES_MAX; i++)
        if (strcmp(a->tries.slot[i].who, who) == 0)
            return &a->tries.slot[i];
    return NULL;
}

static struct try *find_or_make(struct access *a, const char *who)
{
    struct try *t = find(a, who), *soonest = &a->tries.slot[0];

    for (u32 i = 0; i < TRIES_MAX && !t; i++) {
        struct try *s = &a->tries.slot[i];

        if (!s->who[0])
            t = s;
        else if (s->until < soonest->until)
            soonest = s;
    }
    if (!t)
        t = soonest;
    if (strcmp(t->who, who) != 0 || a->now() >= t->last + FORGET_SECONDS) {
        *t = (struct try){};
        str_copy(t->who, sizeof(t->who), who);
    }
    t->last = a->now();
    return t;
}

static u64 wait_after(u32 failures, u32 most)
{
    return failures < 20 ? min(1u << failures, most) : most;
}

int tries_begin(struct access *a, const char *user, const char *from, struct err *e)
{
    const char *const names[] = { user, from };
    const u64 now = a->now();
    struct try *t[ARRAY_LEN(kinds)];
    char who[80];

    for (u32 i = 0; i < ARRAY_LEN(kinds); i++) {
        write_who(who, sizeof(who), kinds[i].kind, names[i]);
        t[i] = find(a, who);
        if (t[i] && t[i]->until > now)
            return err_set(e, -EDQUOT, "too many logins failed; try again in %llu seconds",
                           t[i]->until - now);
    }
    for (u32 i = 0; i < ARRAY_LEN(kinds); i++) {
        write_who(who, sizeof(who), kinds[i].kind, names[i]);
        t[i] = find_or_make(a, who);
        t[i]->n++;
        if (t[i]->n >= kinds[i].free)
            t[i]->until = now + wait_after(t[i]->n - kinds[i].free, kinds[i].wait_max);
    }
    return 0;
}

void tries_forgive(struct access *a, const char *user, const char *from)
{
    char who[80];
    struct try *t;

    write_who(who, sizeof(who), kinds[0].kind, user);
    t = find(a, who);
    if (t)
        *t = (struct try){};
    /* somebody with an account must not be able to clear an address's count by logging in now and then */
    write_who(who, sizeof(who), kinds[1].kind, from);
    t = find(a, who);
    if (t) {
        t->n -= t->n > 0;
        t->until = 0;
    }
}
