/*
 * host/upload_test.c: uploads: what is refused before a byte comes, what comes in pieces, images made of it, what is left after an end.
 */
#include "host/upload.h"

#include "host/guess.h"
#include "host/host_rig.h"
#include "layer/digest.h"
#include "testlib/test.h"

#include <sys/stat.h>
#include <utime.h>

static const char ten[] = "0123456789";
static const char ten_sum[] = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";

static int new (struct rig *r, const char *name, u64 size, const char *sum, char ret_id[17],
                struct err *e)
{
    struct upload_rec rec = { (char *)(uintptr_t)name, (char *)(uintptr_t)sum, size, 0, 0 };
    json_t *j = NULL;
    int code = upload_new(&r->host, &rec, &j, e);

    if (code >= 0)
        str_copy(ret_id, 17, json_string_value(json_object_get(j, "id")));
    json_decref(j);
    return code;
}

static int send_bytes(struct rig *r, const char *id, const char *text, u64 at, size_t len,
                      struct err *e)
{
    AUTO(fd) int fd = upload_begin(&r->host, id, at, len, e);

    if (fd < 0)
        return fd;
    CHECK_EQ(fd_pwrite_all(fd, text, len, at), 0);
    upload_wrote(&r->host, id, at + len);
    upload_end(&r->host, id);
    return 0;
}

static int import(struct rig *r, const char *name, struct image_source *s, struct err *e)
{
    const struct host_who who = { 0 };
    u64 task;
    int code = host_import(&r->host, name, s, &who, &task, e);

    return code < 0 ? code : rig_wait(r, task);
}

TEST(upload_names)
{
    static const struct {
        const char *why, *name;
        bool ok;
    } rows[] = {
        { "as they are", "debian 12 (amd64).qcow2", true },
        { "no path", "../../etc/passwd", false },
        { "no path from the root", "/etc/passwd", false },
        { "no path of others", "..\\x", false },
        { "not hidden", ".bashrc", false },
        { "the folder itself", ".", false },
        { "no controls", "a\nb", false },
        { "not empty", "", false },
        { "utf-8", "größe.img", true },
    };

    for_each_row(row, rows) {
        ROW(row);
        CHECK_EQ(upload_name_ok(row->name), row->ok);
    }
    CHECK(digest_hex_ok(ten_sum));
    CHECK(!digest_hex_ok("84D89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"));
    CHECK(!digest_hex_ok("84"));
}

TEST(guesses)
{
    static const struct {
        const char *why;
        u32 at;
        const char *bytes;
        u32 len;
        const char *part;
    } rows[] = {
        { "an ISO", 32769, "CD001", 5, "iso" },
        { "bzImage", 0x202, "HdrS", 4, "kernel" },
        { "vmlinux", 0, "\177ELF", 4, "kernel" },
        { "qcow2", 0, "QFI\xfb", 4, "disk" },
        { "vdi", 0x40, "\x7f\x10\xda\xbe", 4, "disk" },
        { "a tar", 257, "ustar", 5, "rootfs" },
        { "a packed tar", 0, "\x1f\x8b", 2, "rootfs" },
        { "a boot sector", 510, "\x55\xaa", 2, "disk" },
        { "zeroes", 0, "", 0, NULL },
    };
    AUTO(free) u8 *head = xnew_n(u8, GUESS_BYTES);
    struct image_source s = {};

    for_each_row(row, rows) {
        ROW(row);
        memset(head, 0, GUESS_BYTES);
        memcpy(head + row->at, row->bytes, row->len);
        CHECK_STR(guess_part(head, GUESS_BYTES) ? guess_part(head, GUESS_BYTES) : "nothing",
                  row->part ? row->part : "nothing");
        CHECK(!guess_part(head, row->at + row->len - (row->len > 0)));
    }
    test_row("a hybrid ISO has a boot sector, too");
    memset(head, 0, GUESS_BYTES);
    memcpy(head + 510, "\x55\xaa", 2);
    memcpy(head + 32769, "CD001", 5);
    CHECK_STR(guess_part(head, GUESS_BYTES), "iso");
    CHECK(guess_member(&s, "iso") == &s.iso && !guess_member(&s, "append"));
}

TEST(upload_in_pieces)
{
    struct rig r;
    struct err e = {};
    char id[17], source[32];
    struct image_source iso = { .iso = source };
    struct image_cfg image = {};
    int fd;

    rig_open(&r, test_dir(), "pieces");
    CHECK_OK(new (&r, "a.iso", 10, ten_sum, id, &e), &e);
    str_fmt(source, sizeof(source), "upload:%s", id);
    CHECK_EQ(send_bytes(&r, "none", ten, 0, 4, &e), -ENOENT);
    CHECK_EQ(send_bytes(&r, id, ten, 1, 4, &e), -EBUSY);
    CHECK_HAS(e.text, "0 bytes");
    CHECK_EQ(send_bytes(&r, id, ten, 0, 11, &e), -EINVAL);
    CHECK_EQ(send_bytes(&r, id, ten, 0, 0, &e), -EINVAL);
    CHECK_OK(send_bytes(&r, id, ten, 0, 4, &e), &e);
    CHECK_EQ(import(&r, "lib", &iso, &e), -EBUSY); /* it has not come */
    CHECK_HAS(e.text, "4 of 10");
    test_row("one at a time");
    fd = upload_begin(&r.host, id, 4, 6, &e);
    CHECK(fd >= 0);
    CHECK_EQ(upload_begin(&r.host, id, 4, 6, &e), -EBUSY);
    CHECK_EQ(upload_delete(&r.host, id, &e), -EBUSY);
    upload_end(&r.host, id);
    fd_close(&fd);
    test_row("the next socled goes on");
    rig_close(&r);
    rig_open(&r, test_dir(), "pieces");
    CHECK_EQ(send_bytes(&r, id, ten, 3, 4, &e), -EBUSY);
    CHECK_HAS(e.text, "4 bytes");
    CHECK_OK(send_bytes(&r, id, ten + 4, 4, 6, &e), &e);
    CHECK_EQ(send_bytes(&r, id, ten, 10, 1, &e), -EINVAL);
    CHECK_EQ(import(&r, "lib", &iso, &e), TASK_DONE);
    CHECK_OK(images_get(r.host.images, "lib", &image, &e), &e);
    CHECK_EQ(image.kind, IMAGE_ISO);
    CHECK_STR(image_file(&image, "iso")->sha256, ten_sum);
    CHECK_EQ(image_file(&image, "iso")->size, 10);
    CHECK(!image_file(&image, "disk"));
    conf_fini(image_cfg_fields, &image);
    CHECK_EQ(r.host.n_uploads, 0);
    CHECK(!rig_exists(r.dir, "uploads/x"));
    CHECK_EQ(import(&r, "again", &iso, &e), -ENOENT);
    rig_close(&r);
}

TEST(upload_sums)
{
    struct rig r;
    struct err e = {};
    char id[17], source[32];
    struct image_source iso = { .iso = source };

    rig_open(&r, test_dir(), "sums");
    CHECK_OK(new (&r, "a.iso", 10, NULL, id, &e), &e);
    str_fmt(source, sizeof(source), "upload:%s", id);
    CHECK_OK(send_bytes(&r, id, "012345678x", 0, 10, &e), &e);
    CHECK_OK(upload_set_sum(&r.host, id, ten_sum, &e), &e);
    CHECK_OK(upload_set_sum(&r.host, id, ten_sum, &e), &e);
    CHECK_EQ(upload_set_sum(&r.host, id,
                            "0000000000000000000000000000000000000000000000000000000000000000", &e),
             -EBUSY);
    CHECK_EQ(import(&r, "bad", &iso, &e), TASK_FAILED);
    CHECK(!rig_exists(r.dir, "images/bad"));
    CHECK_EQ(r.host.n_uploads, 1);
    CHECK_OK(upload_delete(&r.host, id, &e), &e);
    rig_close(&r);
}

/* What an image from elsewhere names is not read: it would be a way to any file of the host. */
TEST(upload_is_alone)
{
    static const char secret[] = "not for you";
    AUTO(free) char *dir = str_new("%s/alone", test_dir()), *over = NULL, *base = NULL;
    const struct host_who who = { 0 };
    char id[17], source[32];
    struct image_source disk = { .disk = source };
    struct job j = {};
    struct err e = {};
    struct stat st;
    struct rig r;
    AUTO(free) char *bytes = NULL;
    size_t len;
    u64 task;

    rig_open(&r, test_dir(), "alone");
    rig_write(dir, "base.raw", secret);
    base = str_new("%s/base.raw", dir);
    over = str_new("%s/over.qcow2", dir);
    CHECK_EQ(truncate(base, MiB), 0);
    {
        struct job_new to = { .file = over, .qcow2 = true };

        to.cfg = (struct qcow2_create_cfg){ .size = MiB, .backing = base, .backing_format = "raw" };
        CHECK_OK(job_create(&j, &to, &e), &e);
    }
    {
        AUTO(fd) int fd = open(over, O_RDONLY | O_CLOEXEC);

        CHECK_EQ(fstat(fd, &st), 0);
        CHECK_EQ(fd_read_whole(fd, (size_t)st.st_size, &bytes, &len), 0);
    }
    CHECK_OK(new (&r, "over.qcow2", len, NULL, id, &e), &e);
    CHECK_OK(send_bytes(&r, id, bytes, 0, len, &e), &e);
    str_fmt(source, sizeof(source), "upload:%s", id);
    CHECK_OK(host_import(&r.host, "over", &disk, &who, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_FAILED);
    host_lock(&r.host);
    CHECK_HAS(task_find_locked(&r.host, task)->rec.error, "names another file");
    host_unlock(&r.host);
    test_row("of the host's own files it is");
    disk.disk = over;
    CHECK_EQ(import(&r, "over", &disk, &e), TASK_DONE);
    rig_close(&r);
}

TEST(upload_limits)
{
    struct rig r;
    struct err e = {};
    char id[17];

    rig_open(&r, test_dir(), "limits");
    CHECK_EQ(new (&r, "huge", UPLOAD_SIZE_MAX, NULL, id, &e), -ENOSPC);
    CHECK_HAS(e.text, "there is room for");
    for (u32 i = 0; i < UPLOADS_MAX; i++)
        CHECK_OK(new (&r, "a", 1, NULL, id, &e), &e);
    CHECK_EQ(new (&r, "a", 1, NULL, id, &e), -EDQUOT);
    rig_close(&r);
}

/* What a crash, or a client that does not come back, leaves. */
TEST(upload_garbage)
{
    AUTO(free) char *dir = str_new("%s/garbage", test_dir()), *path = NULL;
    struct utimbuf old = { .actime = 1000, .modtime = 1000 };
    struct rig r;
    struct err e = {};
    char id[17], kept[17];

    rig_open(&r, test_dir(), "garbage");
    CHECK_OK(new (&r, "old", 10, NULL, id, &e), &e);
    CHECK_OK(new (&r, "kept", 10, NULL, kept, &e), &e);
    CHECK_OK(send_bytes(&r, id, ten, 0, 4, &e), &e);
    rig_write(dir, "uploads/0123456789abcdef", "no record");
    path = str_new("%s/uploads/%s", dir, id);
    CHECK_EQ(utime(path, &old), 0);
    rig_close(&r);
    rig_put(dir, "upload/fedcba9876543210", "{\"name\": \"x\", \"size\": 5}");
    rig_open(&r, test_dir(), "garbage");
    CHECK_EQ(r.host.n_uploads, 1);
    CHECK_STR(r.host.uploads->id, kept);
    CHECK(access(path, F_OK) < 0);
    CHECK(!rig_exists(dir, "uploads/0123456789abcdef"));
    rig_close(&r);
}
