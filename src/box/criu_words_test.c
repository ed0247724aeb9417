/*
 * box/criu_words_test.c: what CRIU is told, of specifications and options.
 */
#include "box/criu.h"
#include "testlib/test.h"

#include <stdlib.h>

static const char ordinary[] =
    "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":[\"a\"],\"cwd\":\"/"
    "\"},"
    "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
    "{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"/srv/"
    "hosts\",\"options\":[\"rbind\"]},"
    "{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"data\",\"options\":[\"bind\"]}],"
    "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"network\"%s}%s]"
    ","
    "\"devices\":[{\"path\":\"/dev/fuse\",\"type\":\"c\",\"major\":10,\"minor\":229}],"
    "\"maskedPaths\":[\"/proc/kcore\",\"/proc/acpi\"]}}";

static const char net_path[] = ",\"path\":\"/run/netns/a\"";

static void parse(struct oci *spec, const char *net, const char *more)
{
    AUTO(free) char *text = str_new(ordinary, net, more);
    struct err e = {};

    if (oci_parse(spec, text, strlen(text), &e) < 0)
        CHECK_STR(e.text, "");
}

static unsigned count(const struct criu_words *w, const char *word)
{
    unsigned n = 0;

    for (u32 i = 0; i < w->n; i++)
        n += strcmp(w->items[i], word) == 0;
    return n;
}

static bool has_option(const struct criu_words *w, const char *name)
{
    AUTO(free) char *start = str_new("%s=", name);

    for (u32 i = 0; i < w->n; i++)
        if (str_starts(w->items[i], start))
            return true;
    return false;
}

static struct criu_words dump_words(const struct oci *spec, const struct box_criu *o, u64 net)
{
    static char hosts[] = "/run/hosts", data[] = "/data", kcore[] = "/proc/kcore";
    char *mounts[] = { NULL, hosts, data }, *masks[] = { kcore, NULL };
    const struct criu_dump d = { .pid = 77,
                                 .images = 5,
                                 .work = 6,
                                 .ns[NS_NETWORK] = net,
                                 .freezer = "/sys/fs/cgroup/a",
                                 .mounts = mounts,
                                 .masks = masks,
                                 .notify = net != 0 };
    struct criu_words w = {};

    criu_words_dump(&w, spec, o, &d);
    return w;
}

TEST(criu_dump_of_an_ordinary_one)
{
    static const char *const wanted[] = {
        "images_dir_fd=5",
        "work_dir_fd=6",
        "pid=77",
        "log_file=dump.log",
        "manage_cgroups_mode=0",
        "orphan_pts_master=1",
        "freeze_cgroup=/sys/fs/cgroup/a",
        "empty_ns=1073741824",
        "external=mnt[/run/hosts]:/etc/hosts", /* by the link /etc -> /run, say */
        "external=mnt[/data]:/data",
        "external=mnt[/proc/kcore]:/dev/null",
    };
    static const char *const not_wanted[] = { "leave_running", "tcp_established", "ext_unix_sk",
                                              "shell_job",     "file_locks",      "track_mem",
                                              "parent_img",    "inherit_fd",      "rst_sibling" };
    const struct box_criu none = {};
    struct criu_words w;
    struct oci spec;

    parse(&spec, "", "");
    w = dump_words(&spec, &none, 0);
    for_each_row(word, wanted)
        CHECK_EQ(count(&w, *word), 1);
    for_each_row(name, not_wanted)
        CHECK_EQ(has_option(&w, *name), false);
    CHECK_EQ(count(&w, "external=mnt[/run/notify]:/run/notify"), 0);
    criu_words_fini(&w);
    oci_fini(&spec);
}

TEST(criu_dump_options)
{
    static char parent[] = "../a";
    static const struct {
        const char *why, *word;
        struct box_criu o;
    } rows[] = {
        { "goes on", "leave_running=1", { .leave_running = true } },
        { "connections", "tcp_established=1", { .tcp_established = true } },
        { "half connections", "tcp_skip_in_flight=1", { .tcp_skip_in_flight = true } },
        { "sockets", "ext_unix_sk=1", { .ext_unix_sk = true } },
        { "terminal", "shell_job=1", { .shell_job = true } },
        { "locks", "file_locks=1", { .file_locks = true } },
        { "dedup", "auto_dedup=1", { .auto_dedup = true } },
        { "a first one", "track_mem=1", { .pre_dump = true } },
        { "a second one", "track_mem=1", { .parent_path = parent } },
        { "after the first", "parent_img=../a", { .parent_path = parent } },
        { "soft", "manage_cgroups_mode=3", { .manage_cgroups_mode = 1 } },
        { "full", "manage_cgroups_mode=4", { .manage_cgroups_mode = 2 } },
        { "strict", "manage_cgroups_mode=5", { .manage_cgroups_mode = 3 } },
    };
    struct oci spec;

    parse(&spec, "", "");
    for_each_row(c, rows) {
        struct criu_words w;

        ROW(c);
        w = dump_words(&spec, &c->o, 0);
        CHECK_EQ(count(&w, c->word), 1);
        criu_words_fini(&w);
    }
    oci_fini(&spec);
}

TEST(criu_joined_network)
{
    const struct box_criu none = {};
    static const int joined[NS_KINDS] = {
        [NS_USER] = -1, [NS_MOUNT] = -1, [NS_PID] = -1,    [NS_NETWORK] = 9,
        [NS_IPC] = -1,  [NS_UTS] = -1,   [NS_CGROUP] = -1, [NS_TIME] = -1,
    };
    struct criu_restore r = {
        .images = 3, .work = 4, .ns = joined, .bundle = "/b", .state = "/run/s/c"
    };
    struct criu_words w;
    struct oci spec;

    parse(&spec, net_path, "");
    w = dump_words(&spec, &none, 4026532000);
    CHECK_EQ(count(&w, "external=net[4026532000]:extRootNetNS"), 1);
    CHECK_EQ(count(&w, "external=mnt[/run/notify]:/run/notify"), 1);
    CHECK_EQ(has_option(&w, "empty_ns"), false);
    criu_words_fini(&w);
    criu_words_restore(&w, &spec, &none, &r);
    CHECK_EQ(count(&w, "inherit_fd=9:extRootNetNS"), 1);
    CHECK_EQ(has_option(&w, "empty_ns"), false);
    criu_words_fini(&w);
    oci_fini(&spec);
}

TEST(criu_restore_of_an_ordinary_one)
{
    static const char *const wanted[] = {
        "images_dir_fd=3",
        "work_dir_fd=4",
        "log_file=restore.log",
        "root=/run/s/c/root",
        "rst_sibling=1",
        "notify_scripts=1",
        "empty_ns=1073741824",
        "external=mnt[/etc/hosts]:/srv/hosts",
        "external=mnt[/data]:/b/data", /* of the bundle */
        "external=mnt[/dev/null]:/dev/null",
        "external=mnt[/dev/fuse]:/dev/fuse",
        "external=mnt[/run/notify]:/run/s/c/notify",
        "inherit_fd=1:pipe:[12]",
        "lsm_profile=apparmor:x",
    };
    int none[NS_KINDS];
    const struct box_criu o = { .lsm_profile = (char[]){ "apparmor:x" } };
    struct criu_restore r = { .images = 3,
                              .work = 4,
                              .ns = none,
                              .bundle = "/b",
                              .state = "/run/s/c",
                              .cgroup = "/g",
                              .streams = { NULL, (char[]){ "pipe:[12]" }, NULL } };
    const struct box_criu soft = { .manage_cgroups_mode = 1 };
    struct criu_words w = {};
    struct oci spec;

    memset(none, -1, sizeof(none));
    parse(&spec, "", "");
    criu_words_restore(&w, &spec, &o, &r);
    for_each_row(word, wanted)
        CHECK_EQ(count(&w, *word), 1);
    CHECK_EQ(has_option(&w, "cg_root"), false);
    CHECK_EQ(has_option(&w, "pid"), false);
    criu_words_fini(&w);
    criu_words_restore(&w, &spec, &soft, &r);
    CHECK_EQ(count(&w, "cg_root=/g"), 1);
    criu_words_fini(&w);
    oci_fini(&spec);
}

TEST(criu_streams)
{
    static const struct {
        const char *why, *text;
        const char *first, *last; /* NULL: none */
        int r;
    } rows[] = {
        { "pipes", "[\"pipe:[1]\",\"/dev/null\",\"pipe:[22]\"]", "pipe:[1]", "pipe:[22]", 0 },
        { "no pipes", "[\"/dev/pts/0\",\"/dev/pts/0\",\"/a\"]", NULL, NULL, 0 },
        { "too few", "[\"pipe:[1]\"]", "pipe:[1]", NULL, 0 },
        { "another's key", "[\"pipe:[1]:x\",3,\"pipe:[]\"]", NULL, NULL, 0 },
        { "a namespace's", "[\"extRootNetNS\",{},\"pipe:[123456789012345678901]\"]", NULL, NULL,
          0 },
        { "no list", "{}", NULL, NULL, 0 },
        { "no JSON", "[", NULL, NULL, -EINVAL },
    };

    for_each_row(c, rows) {
        char *got[CRIU_STREAMS_MAX] = {};
        struct err e = {};

        ROW(c);
        CHECK_EQ(criu_streams_parse(c->text, strlen(c->text), got, &e), c->r);
        CHECK_STR(got[0] ? got[0] : "", c->first ? c->first : "");
        CHECK_STR(got[2] ? got[2] : "", c->last ? c->last : "");
        for_each_row(s, got)
            free(*s);
    }
}

TEST(criu_refused)
{
    static char network[] = "network", ipc[] = "ipc", server[] = "a:1", fd[] = "3";
    static char *networks[] = { network }, *others[] = { network, ipc };
    static const struct {
        const char *why, *namespaces;
        struct box_criu o;
        const char *text; /* NULL: it is taken */
    } rows[] = {
        { "nothing special", "", {}, NULL },
        { "an empty network", "", { .empty_ns = { networks, 1 } }, NULL },
        { "another empty one", "", { .empty_ns = { others, 2 } }, "network" },
        { "pages later", "", { .lazy_pages = true }, "--lazy-pages" },
        { "pages elsewhere", "", { .page_server = server }, "--page-server" },
        { "tell of pages", "", { .status_fd = fd }, "--status-fd" },
        { "a joined one",
          ",{\"type\":\"ipc\",\"path\":\"/proc/1/ns/ipc\"}",
          {},
          "joined ipc namespace" },
        { "its own", ",{\"type\":\"ipc\"}", {}, NULL },
    };

    for_each_row(c, rows) {
        struct err e = {};
        struct oci spec;

        ROW(c);
        parse(&spec, net_path, c->namespaces);
        CHECK_EQ(criu_check(&spec, &c->o, &e) < 0, c->text != NULL);
        if (c->text)
            CHECK_EQ(strstr(e.text, c->text) != NULL, true);
        oci_fini(&spec);
    }
}

TEST(criu_errors_of_a_log)
{
    static const struct {
        const char *why, *log, *text; /* text NULL: none */
    } rows[] = {
        { "nothing", "", NULL },
        { "all is well", "(00.1) Dumping finished successfully\n", NULL },
        { "the first", "(00.1) Error (criu/a.c:1): no x\n(00.2) Error (criu/b.c:2): FAILED\n",
          "no x" },
        { "after a try", "(0) Error (criu/util.c:642): exited, status=1\n(1) Error (criu/a.c:1): y",
          "y" },
        { "a try alone", "(0) Error (criu/util.c:642): exited, status=1\n", NULL },
        { "cut off", "(0) Error (criu/a.c:1", NULL },
        { "long", "(0) Error (a): 0123456789012345678901234567890", "0123456789012345678" },
    };

    for_each_row(c, rows) {
        char got[20];

        ROW(c);
        CHECK_EQ(criu_log_error(c->log, got, sizeof(got)), c->text != NULL);
        if (c->text)
            CHECK_STR(got, c->text);
    }
}
