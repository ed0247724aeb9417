/*
 * cmd/cmd_test.c: command lines and the machines that they mean; help, manual and completion know every option.
 */
#include "cmd/command.h"
#include "cmd/progress.h"
#include "cmd/run.h"
#include "host/newfile.h"
#include "testlib/test.h"
#include "vm/statefile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORDS_MAX = 24 };

/* `words` end with NULL. */
static int parse(struct run *run, const char *const *words, struct err *e)
{
    char *argv[WORDS_MAX] = {};
    int argc = 0;

    for (; words[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc];
    return run_parse(run, argc, argv, e);
}

TEST(run_parse)
{
    static const struct {
        const char *why;
        const char *words[WORDS_MAX];
        const char *append; /* NULL: refused, with `error` in the message */
        const char *error;
    } rows[] = {
        { "least", { "--kernel", "k" }, "console=ttyS0", NULL },
        { "value after =", { "--kernel=k", "--append=quiet" }, "console=ttyS0 quiet", NULL },
        { "own console", { "--kernel=k", "--append", "console=tty0 a" }, "console=tty0 a", NULL },
        { "virtio console",
          { "--kernel=k", "--console", "stdio,device=virtio" },
          "console=hvc0",
          NULL },
        { "a disk", { "--kernel=k", "d.img" }, "console=ttyS0 root=/dev/vda", NULL },
        { "a disk, own root",
          { "d.img", "--kernel=k", "--append", "root=LABEL=x" },
          "console=ttyS0 root=LABEL=x",
          NULL },
        { "nfsroot= is not root=",
          { "d.img", "--kernel=k", "--append", "nfsroot=x" },
          "console=ttyS0 nfsroot=x root=/dev/vda",
          NULL },
        { "disk after --",
          { "--kernel=k", "--", "--odd.img" },
          "console=ttyS0 root=/dev/vda",
          NULL },
        { "nothing", {}, NULL, "nothing to boot: give --kernel FILE" },
        { "disk alone", { "d.img" }, NULL, "'d.img': booting from a disk's own loader needs" },
        { "two disks", { "--kernel=k", "a", "b" }, NULL, "'a' and 'b': one DISK is allowed" },
        { "unknown option", { "--kernal=k" }, NULL, "unknown option '--kernal=k'" },
        { "unknown short option", { "-x" }, NULL, "unknown option '-x'" },
        { "no value", { "--kernel" }, NULL, "--kernel needs a value" },
        { "twice", { "--kernel=k", "--kernel=l" }, NULL, "--kernel is given twice" },
        { "range", { "--kernel=k", "--cpus", "0" }, NULL, "--cpus: 'cpus' is 0; 1 to 64" },
        { "below",
          { "--kernel=k", "--disk", "a,qeues=1" },
          NULL,
          "--disk: unknown option 'qeues'; allowed: file, readonly" },
        { "bad flag", { "--kernel=k", "--balloon=perhaps" }, NULL, "on or off is expected" },
        { "bad forward",
          { "--kernel=k", "--net", "user,forward=tcp:22" },
          NULL,
          "'rule' is 'tcp:22'; tcp or udp:" },
        { "what only the whole shows",
          { "--kernel=k", "--net", "tap" },
          NULL,
          "net 0: 'tap' is missing" },
    };

    for_each_row(c, rows) {
        struct run run;
        struct err e = {};
        int r = parse(&run, c->words, &e);

        ROW(c);
        if (c->append) {
            CHECK_OK(r, &e);
            CHECK_STR(run.spec.append, c->append);
        } else {
            CHECK_EQ(r, -EINVAL);
            CHECK_HAS(e.text, c->error);
        }
        run_fini(&run);
    }
}

TEST(run_parse_whole)
{
    static const char *const words[] = { "--kernel",  "k",
                                         "--disk",    "b,,c.img,readonly",
                                         "--net",     "user,forward=tcp:2222:22,forward=udp:53:53",
                                         "--net",     "tap=tap0,queues=4",
                                         "--memory",  "2G",
                                         "--cpus=4",  "--timeout",
                                         "60",        "--no-jail",
                                         "--rng=off", "a.img,serial=s",
                                         NULL };
    struct run run;
    struct err e = {};

    CHECK_OK(parse(&run, words, &e), &e);
    CHECK_EQ(run.timeout, 60);
    CHECK_EQ(run.spec.cpus, 4);
    CHECK_EQ(run.spec.memory, 2 * GiB);
    CHECK(run.spec.no_jail && !run.spec.rng && run.spec.balloon);
    CHECK_EQ(run.spec.disks.n, 2);
    CHECK_STR(spec_disk(&run.spec, 0)->file, "a.img");
    CHECK_STR(spec_disk(&run.spec, 0)->serial, "s");
    CHECK_STR(spec_disk(&run.spec, 1)->file, "b,c.img");
    CHECK(spec_disk(&run.spec, 1)->readonly);
    CHECK_EQ(run.spec.nets.n, 2);
    CHECK_EQ(spec_net(&run.spec, 0)->forward.n, 2);
    CHECK_EQ(spec_net(&run.spec, 1)->kind, SPEC_NET_TAP);
    CHECK_EQ(spec_net(&run.spec, 1)->queues, 4);
    run_fini(&run);
}

/* A state file whose machine has two disks and a card; its RAM is a hole. */
static char *put_state(void)
{
    static const char text[] =
        "{\"id\": \"0123456789abcdef0123456789abcdef\", \"spec\": {\"name\": \"orig\", "
        "\"kernel\": \"k\", \"cpus\": 3, \"memory\": 1048576, \"uuid\": "
        "\"01234567-89ab-cdef-0123-456789abcdef\", \"disks\": [{\"file\": \"/a\", \"queues\": 2}, "
        "{\"file\": \"/b\", \"readonly\": true}], \"nets\": [{\"kind\": \"user\", \"mac\": "
        "\"52:54:00:00:00:07\", \"forward\": [{\"rule\": \"tcp:1:2\"}]}]}}";
    char *path = str_new("%s/state", test_dir());
    AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO(strbuf) struct strbuf meta = {}, state = {};
    struct err e = {};

    strbuf_add(&meta, "%s", text);
    strbuf_add(&state, "s");
    CHECK_OK(statefile_finish(fd, &(struct statefile_new){ MiB, &meta, &state, NULL }, &e), &e);
    return path;
}

TEST(run_restores_what_the_state_says)
{
    AUTO(free) char *file = put_state();
    const char *words[] = { "--restore", file,  "--net",     "user,forward=tcp:8:9",
                            "--disk",    "/c",  "--disk",    "/d",
                            "--name",    "new", "--console", "none",
                            NULL };
    struct run run;
    struct err e = {};

    CHECK_OK(parse(&run, words, &e), &e);
    CHECK_EQ(run.spec.cpus, 3);
    CHECK_EQ(run.spec.memory, MiB);
    CHECK_STR(run.spec.name, "new");
    CHECK_STR(run.spec.console.backend, "none");
    CHECK_STR(run.spec.restore.file, file);
    CHECK_STR(spec_disk(&run.spec, 0)->file, "/c");
    CHECK_EQ(spec_disk(&run.spec, 0)->queues, 2);
    CHECK(spec_disk(&run.spec, 1)->readonly);
    CHECK_EQ(spec_net(&run.spec, 0)->forward.n, 1);
    CHECK_STR(((struct vm_forward *)spec_net(&run.spec, 0)->forward.items)->rule, "tcp:8:9");
    CHECK_STR(spec_net(&run.spec, 0)->mac, "52:54:00:00:00:07");
    CHECK_STR(run.spec.uuid, "01234567-89ab-cdef-0123-456789abcdef");
    run_fini(&run);
}

TEST(run_gives_clones_an_identity)
{
    AUTO(free) char *file = put_state(), *option = str_new("--restore=%s,clone", file);
    const char *words[] = { option, NULL };
    struct run one, two;
    struct err e = {};

    CHECK_OK(parse(&one, words, &e), &e);
    CHECK_OK(parse(&two, words, &e), &e);
    CHECK(str_starts(one.spec.name, "orig-") && strcmp(one.spec.name, two.spec.name) != 0);
    CHECK(strcmp(one.spec.uuid, two.spec.uuid) != 0);
    CHECK(strcmp(spec_net(&one.spec, 0)->mac, spec_net(&two.spec, 0)->mac) != 0);
    CHECK_EQ(spec_net(&one.spec, 0)->forward.n, 1);
    run_fini(&one);
    run_fini(&two);
}

TEST(run_restore_refuses)
{
    AUTO(free) char *file = put_state();
    const struct {
        const char *why;
        const char *words[8];
        const char *has;
    } rows[] = {
        { "what the state says",
          { "--restore", file, "--memory", "2M" },
          "--memory and --restore" },
        { "a kernel", { "--restore", file, "--kernel", "k" }, "--kernel and --restore" },
        { "too few disks", { "--restore", file, "--disk", "/c" }, "1 disks are given" },
        { "too many cards",
          { "--restore", file, "--net", "user", "--net", "user" },
          "saved machine has 1" },
        { "a DISK", { "--restore", file, "d.img" }, "given by --disk" },
        { "another guest address", { "--restore", file, "--vsock", "5" }, "'cid' is 5" },
        { "a port that the guest has not seen",
          { "--restore", file, "--agent", "none" },
          "no port for a guest agent" },
        { "no such file", { "--restore", "/no/such/file" }, "/no/such/file" },
        { "not a state", { "--restore", "/dev/null" }, "not a regular file" },
        { "a clone of nothing", { "--restore", ",clone" }, "file" },
    };

    for_each_row(c, rows) {
        struct run run;
        struct err e = {};

        ROW(c);
        CHECK(parse(&run, c->words, &e) < 0);
        CHECK_HAS(e.text, c->has);
        run_fini(&run);
    }
}

TEST(newfile_appears_when_it_is_complete)
{
    AUTO(free) char *path = str_new("%s/saved", test_dir());
    struct newfile f;
    struct err e = {};
    struct stat st;

    CHECK_OK(newfile_open(&f, path, &e), &e);
    CHECK_EQ(fd_write_all(f.fd, "one", 3), 0);
    CHECK(stat(path, &st) < 0);
    newfile_fini(&f);
    CHECK(stat(path, &st) < 0);    /* given up: nothing is left */
    for (u32 i = 1; i <= 2; i++) { /* the second takes the first one's place */
        CHECK_OK(newfile_open(&f, path, &e), &e);
        CHECK_EQ(fd_write_all(f.fd, "two", i), 0);
        CHECK_OK(newfile_keep(&f, &e), &e);
        newfile_fini(&f);
        CHECK_EQ(stat(path, &st), 0);
        CHECK_EQ(st.st_size, i);
    }
    CHECK_EQ(newfile_open(&f, test_dir(), &e), -EEXIST);
    newfile_fini(&f);
}

TEST(run_has_a_user_net_unless_told)
{
    static const char *const plain[] = { "--kernel=k", NULL };
    static const char *const none[] = { "--kernel=k", "--net", "none", NULL };
    struct run run;
    struct err e = {};

    CHECK_OK(parse(&run, plain, &e), &e);
    CHECK_EQ(run.spec.nets.n, 1);
    run_fini(&run);
    CHECK_OK(parse(&run, none, &e), &e);
    CHECK_EQ(run.spec.nets.n, 0);
    run_fini(&run);
}

TEST(help_is_asked_for_anywhere)
{
    static const char *const words[] = { "--kernel", "k", "--help", "--nonsense", NULL };
    struct run run;
    struct err e = {};

    CHECK_EQ(parse(&run, words, &e), 1);
    run_fini(&run);
}

/* What a user may set can be said on the command line; what only our own programs use cannot. */
TEST(every_field_has_an_option)
{
    for (const struct field *f = spec_fields; f->name; f++) {
        const struct opt *o = run_opts;

        while (o->name && (o->table != spec_fields || strcmp(o->field, f->name) != 0))
            o++;
        CHECK_EQ(!o->name, strcmp(f->name, "control_fd") == 0);
    }
}

/* Also of a command's own commands. */
static void check_docs(const struct command *c, const char *man, const struct strbuf shells[3])
{
    AUTO(strbuf) struct strbuf help = {};

    docs_help(c, &help);
    CHECK_HAS(help.text, c->name);
    CHECK_HAS(man, c->name);
    for (const struct opt *o = c->opts; o && o->name; o++) {
        CHECK_HAS(help.text, o->name);
        for (unsigned i = 0; i < 3; i++)
            CHECK_HAS(shells[i].text, o->name);
    }
    for (const struct command *s = c->subs; s && s->name; s++) {
        const char *word = s->name + strlen(c->name) + 1;

        CHECK(str_starts(s->name, c->name) && s->main == NULL);
        CHECK_EQ(command_find_sub(c, word) == s, true);
        CHECK_HAS(help.text, word);
        check_docs(s, man, shells);
    }
}

TEST(docs_have_every_command_and_option)
{
    AUTO(strbuf) struct strbuf overview = {}, man = {}, help = {};
    struct strbuf shells[3] = {};

    docs_overview(&overview);
    docs_man(&man);
    CHECK(docs_completion("bash", &shells[0]));
    CHECK(docs_completion("zsh", &shells[1]));
    CHECK(docs_completion("fish", &shells[2]));
    CHECK(!docs_completion("csh", &shells[0]));
    for (const struct command *c = commands; c->name; c++) {
        CHECK_HAS(overview.text, c->name);
        check_docs(c, man.text, shells);
    }
    CHECK_HAS(man.text, "\\-\\-no\\-jail");
    CHECK_HAS(man.text, "socle image convert");
    docs_help(command_find("run"), &help);
    CHECK_HAS(help.text, "--cpus N");
    CHECK_HAS(help.text, "Ctrl-A x");
    for (unsigned i = 0; i < ARRAY_LEN(shells); i++)
        strbuf_fini(&shells[i]);
}

TEST(progress_lines)
{
    static const struct {
        const char *why;
        u64 done, total, seconds;
        const char *line;
    } rows[] = {
        { "begin", 0, 1 * GiB, 0, "x  [                        ]   0 %  0 MiB/s" },
        { "half", 512 * MiB, 1 * GiB, 4,
          "x  [############            ]  50 %  128 MiB/s  0:04 left" },
        { "slow", 1 * MiB, 1 * GiB, 1, "x  [                        ]   0 %  1 MiB/s  17:03 left" },
        { "end", 1 * GiB, 1 * GiB, 2, "x  [########################] 100 %  finishing" },
        { "more", 2 * GiB, 1 * GiB, 2, "x  [########################] 100 %  finishing" },
    };

    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf line = {};

        ROW(c);
        progress_line("x", c->done, c->total, c->seconds * NSEC_PER_SEC, &line);
        CHECK_STR(line.text, c->line);
    }
}

/* The words that shells offer are the rows that --help lists. */
TEST(ctl_words_are_the_commands)
{
    AUTO(strbuf) struct strbuf help = {};
    char *words = xdup(ctl_words), *rest = words, *word;
    unsigned n = 0, lines = 0;

    ctl_more(&help);
    while ((word = strsep(&rest, " "))) {
        AUTO(free) char *line = str_new("\n  %s ", word);

        CHECK_HAS(help.text, line);
        n++;
    }
    for (const char *p = help.text; (p = strstr(p, "\n  ")); p++)
        lines++;
    CHECK_EQ(lines, n);
    free(words);
}
