/*
 * net/within.c: a thread that joins a network namespace.  Unlike a child it shares our descriptors, so what it opens there is ours.
 */
#include "net/within.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

struct visit {
    int ns;
    int (*fn)(void *arg, struct err *e);
    void *arg;
    struct err *e;
    int r;
};

static void *visit(void *arg)
{
    struct visit *v = arg;

    v->r = setns(v->ns, CLONE_NEWNET) < 0 ? err_errno(v->e, "enter the network namespace")
                                          : v->fn(v->arg, v->e);
    return NULL;
}

int within(int ns, int (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
    struct visit v = { ns, fn, arg, e, 0 };
    sigset_t all, was;
    pthread_t t;
    int r;

    sigfillset(&all); /* no handler of the process runs there */
    pthread_sigmask(SIG_SETMASK, &all, &was);
    r = -pthread_create(&t, NULL, visit, &v);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (r < 0)
        return err_code(e, r, "start a thread");
    pthread_join(t, NULL);
    return v.r;
}
