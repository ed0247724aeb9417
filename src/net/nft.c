/*
 * net/nft.c: libnftables, loaded when the first network needs it: it and what it links cost a socled without networks nothing.
 */
#include "net/nft.h"

#include <dlfcn.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>

#define LIBRARY "libnftables.so.1"

struct nft_calls {
    struct nft_ctx *(*new)(uint32_t flags);
    void (*free)(struct nft_ctx *ctx);
    void (*output)(struct nft_ctx *ctx, unsigned int flags);
    int (*buffer_output)(struct nft_ctx *ctx);
    int (*buffer_error)(struct nft_ctx *ctx);
    const char *(*error)(struct nft_ctx *ctx);
    int (*run)(struct nft_ctx *ctx, const char *text);
};

static int load(struct nft_calls *c, struct err *e)
{
    const struct {
        const char *name;
        void *at;
    } rows[] = {
        { "nft_ctx_new", &c->new },
        { "nft_ctx_free", &c->free },
        { "nft_ctx_output_set_flags", &c->output },
        { "nft_ctx_buffer_output", &c->buffer_output },
        { "nft_ctx_buffer_error", &c->buffer_error },
        { "nft_ctx_get_error_buffer", &c->error },
        { "nft_run_cmd_from_buffer", &c->run },
    };
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (!library)
        return err_set(e, -ENOENT, "packet filter: %s (Debian: package libnftables1)", dlerror());
    for_each_row(r, rows) {
        void *symbol = dlsym(library, r->name);

        if (!symbol)
            return err_set(e, -ENOSYS, "packet filter: " LIBRARY " has no '%s'", r->name);
        memcpy(r->at, &symbol, sizeof(symbol));
    }
    return 0;
}

/* Has the kernel one?  The library would end our process where it has none. */
static int check_kernel(struct err *e)
{
    AUTO(fd) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

    return fd < 0 ? err_errno(e, "packet filter: nftables of the kernel") : 0;
}

int nft_run(const char *json, struct err *e)
{
    struct nft_calls c;
    struct nft_ctx *ctx;
    int r = check_kernel(e);

    if (r >= 0)
        r = load(&c, e);
    if (r < 0)
        return r;
    ctx = c.new(NFT_CTX_DEFAULT);
    if (!ctx)
        return err_set(e, -ENOMEM, "packet filter: no memory");
    c.output(ctx, NFT_CTX_OUTPUT_JSON);
    if (c.buffer_output(ctx) != 0 || c.buffer_error(ctx) != 0)
        r = err_set(e, -ENOMEM, "packet filter: no memory");
    else if (c.run(ctx, json) != 0)
        r = err_set(e, -EIO, "packet filter: %.*s", (int)strcspn(c.error(ctx), "\n"), c.error(ctx));
    c.free(ctx);
    return r;
}
