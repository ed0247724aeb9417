/*
 * share/share_fuzz.c: any requests, in any order, upon a small folder that has links out of it.
 * A step is: opcode, node, room (2 bytes), length (2 bytes), and what follows the header.
 * Oracle: each reply is well-formed (rig.h); what is opened is a regular file, and not the one beside the folder, which keeps its contents;
 * nothing appears or goes beside the folder.
 */
#include "share/rig.h"
#include "testlib/fuzz.h"

#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { STEPS_MAX = 100, BODY_MAX = 700, FILE_MAX = 1024 * 1024, TREE_FDS = 16 };

static struct {
    char parent[64];
    struct rig rig;
    ino_t canary;
} z;

static int remove_one(const char *path, const struct stat *, int, struct FTW *)
{
    return remove(path);
}

static void clean(const char *path)
{
    nftw(path, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS);
}

static void at_end(void)
{
    clean(z.parent);
}

static void begin_once(void)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    const struct rlimit most = { FILE_MAX, FILE_MAX };

    if (z.parent[0])
        return;
    str_fmt(z.parent, sizeof(z.parent), "/tmp/socle-share-XXXXXX");
    must(mkdtemp(z.parent));
    atexit(at_end);
    sigaction(SIGXFSZ, &ignore, NULL);
    setrlimit(RLIMIT_FSIZE, &most);
    umask(0);
}

static void fill_folder(void)
{
    const int dir = z.rig.root;
    int fd = openat(dir, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    must(fd >= 0 && fd_write_all(fd, "text", 4) == 0);
    close(fd);
    must(mkdirat(dir, "d", 0755) == 0 && mkdirat(dir, "d/e", 0755) == 0);
    must(symlinkat("../canary", dir, "l") == 0 && symlinkat("..", dir, "u") == 0);
    must(mkfifoat(dir, "p", 0600) == 0);
}

static void step(struct fuzz_in *in)
{
    struct rig *t = &z.rig;
    u8 body[BODY_MAX];
    struct rig_ask a = { .op = (u32)fuzz_take(in, 1), .node = fuzz_take(in, 1) };
    const u32 room = (u32)fuzz_take(in, 2), want = (u32)fuzz_take(in, 2);
    const u32 most = (u32)min(in->left, sizeof(body)), len = min(want, most);
    struct stat st;

    for (u32 i = 0; i < len; i++)
        body[i] = (u8)fuzz_take(in, 1);
    a.data = body;
    a.data_len = len;
    if (a.op == FUSE_SYNCFS)
        return; /* it would wait for what others write */
    rig_serve(t, rig_build(t, &a), room);
    if (t->fd >= 0)
        must(fstat(t->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino != z.canary);
}

static void check_outside(void)
{
    char text[16] = {};
    u32 n = 0;
    DIR *d;
    AUTO(fd) int fd = open(z.rig.canary, O_RDONLY | O_CLOEXEC);

    must(fd >= 0 && read(fd, text, sizeof(text)) == 6 && memcmp(text, "canary", 6) == 0);
    d = opendir(z.parent);
    must(d);
    while (readdir(d))
        n++;
    closedir(d);
    must(n == 4); /* with "." and ".." */
}

FUZZ(share)
{
    struct fuzz_in in = { data, size };
    struct stat st;

    begin_once();
    rig_open(&z.rig, z.parent,
             &(struct rig_cfg){
                 .files = 256 + (u32)(size % 50), .handles = 8, .readonly = size % 7 == 6 });
    must(stat(z.rig.canary, &st) == 0);
    z.canary = st.st_ino;
    fill_folder();
    must(rig_init_session(&z.rig) == 0);
    for (u32 i = 0; i < STEPS_MAX && in.left > 0; i++)
        step(&in);
    rig_close(&z.rig);
    check_outside();
    clean(z.rig.dir);
}
