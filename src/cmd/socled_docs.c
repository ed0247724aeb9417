/*
 * cmd/socled_docs.c: socled(8), from the rows of its options.
 */
#include "cmd/socled_docs.h"

#include "cmd/docs.h"
#include "cmd/socled_opts.h"
#include "host/agent_nets.h"
#include "host/guest_nets.h"
#include "host/host.h"

static void man_head(struct strbuf *out)
{
    strbuf_add(out,
               ".TH SOCLED 8 \"\" \"socle %s\" \"System Administration\"\n"
               ".SH NAME\nsocled \\- keep virtual machines and containers that have names\n"
               ".SH SYNOPSIS\n.B %s/socled\n[OPTION]...\n"
               ".SH DESCRIPTION\nKeeps the instances, images and networks of one folder, and "
               "answers the API there. \\fBsocle\\fR(1) starts one when it needs it, for root "
               "and for each other user; as a service it is started by systemd.\n.PP\n"
               "Each instance is a process of its own, which does not notice that socled ends, is "
               "upgraded, or is killed: the next one finds it, and goes on with what was not "
               "done.\n"
               ".SH OPTIONS\n",
               SOCLE_VERSION, SOCLE_LIBEXEC);
}

/* What is shown of addresses, and whose word that is: doc/notes/048-guest-addresses.md. */
static void man_addresses(struct strbuf *out)
{
    strbuf_add(
        out,
        ".SH ADDRESSES OF INSTANCES\nFor a container they are what its cards were given.  For a "
        "machine they are what qemu\\-guest\\-agent in the guest says, and may be wrong: nothing "
        "is "
        "decided by them.  Without that package there are none.  Shown are the addresses of the "
        "machine's own cards, at most %d of a card, IPv4 first; loopback, link\\-local and "
        "multicast "
        "ones are not.\n.PP\n"
        "Who looks (a list, a page, \\fBsocle show\\fR) gets at once what is known, and has each "
        "guest asked whose answer is older than %d seconds; another answer is an event.  A guest "
        "has "
        "%d seconds to answer.  One that does not is asked again after %d seconds, then after "
        "twice "
        "as long each time, up to %d; when it did not answer %d times in a row, what it said is "
        "forgotten.  Nobody is asked when nobody looks.  There is nothing to set; a "
        "machine with as many devices as there may be has no port for the agent.\n",
        AGENT_CARD_ADDRESSES, GUEST_NETS_FRESH, GUEST_NETS_SECONDS, GUEST_NETS_AGAIN_FIRST,
        GUEST_NETS_AGAIN_LAST, GUEST_NETS_FORGET);
}

static void man_tail(struct strbuf *out)
{
    strbuf_add(
        out,
        ".SH ENVIRONMENT\n.TP\n.B SOCLE_DIR\nThe folder, without \\-\\-dir. Else it is %s of "
        "root, and socle below $XDG_DATA_HOME, or ~/.local/share, of others.\n"
        ".TP\n.B LISTEN_FDS\nA service manager hands in the socket (sd_listen_fds(3)).\n"
        ".TP\n.B NOTIFY_SOCKET\nIt is told there when socled is ready (sd_notify(3)).\n"
        ".SH SIGNALS\nSIGTERM and SIGINT end it; machines run on.\n"
        ".SH EXIT STATUS\n0, or 1 when something failed, 2 when an option is wrong.\n"
        ".SH FILES\n"
        ".TP\n.I DIR/api.sock\nWhere the API is answered.\n"
        ".TP\n.I DIR/records.db\nInstances, tasks and all else that is recorded.\n"
        ".TP\n.I DIR/instances\nA folder of each: disks, snapshots, sockets, logs.\n"
        ".TP\n.I DIR/socled.log\nWhat it said, when socle started it; as a service that is in "
        "the journal.\n"
        ".TP\n.I DIR/audit.log\nWho did what.\n"
        ".TP\n.I /etc/default/socled\nSOCLED_OPTIONS of the service, SOCLED_STOP_OPTIONS of the "
        "one that shuts machines down; of a user ~/.config/socled.\n"
        ".SH SEE ALSO\n\\fBsocle\\fR(1), \\fBsocle\\-box\\fR(1), \\fBsocle\\-api\\fR(7)\n",
        HOST_DIR_ROOT);
}

void socled_docs_man(struct strbuf *out)
{
    man_head(out);
    for (const struct opt *o = socled_opts; o->name; o++)
        docs_roff_option(o, out);
    man_addresses(out);
    man_tail(out);
}
