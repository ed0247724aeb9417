/*
 * host/images_test.c: images of files that are elsewhere.
 */
#include "host/host_rig.h"
#include "testlib/test.h"

#include <sys/mman.h>

enum { LEN = 3 * 1024 * 1024 + 5 };

/* Its file system is another one than the pool's, whatever that is. */
static int memory_file(const u8 *data, size_t len)
{
    int fd = memfd_create("kernel", MFD_CLOEXEC);

    CHECK(fd >= 0);
    CHECK_EQ(fd_write_all(fd, data, len), 0);
    return fd;
}

TEST(images_from_another_file_system)
{
    AUTO(free) u8 *data = xnew_n(u8, LEN);
    const struct host_who who = { 0 };
    AUTO(free) char *from = NULL, *copy = NULL, *got = NULL;
    AUTO(fd) int fd = -1, made = -1;
    struct image_source source = {};
    struct err e = {};
    size_t len = 0;
    json_t *list;
    struct rig r;
    u64 seed = 3, task;

    for (u32 i = 0; i < LEN; i++)
        data[i] = (u8)test_rand(&seed);
    fd = memory_file(data, LEN);
    from = str_new("/proc/self/fd/%d", fd);
    source.kernel = from;
    rig_open(&r, test_dir(), "images");
    CHECK_OK(host_import(&r.host, "far", &source, &who, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_DONE);
    copy = str_new("%s/images/far/kernel", r.dir);
    made = open(copy, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(fd_read_whole(made, 2 * LEN, &got, &len), 0);
    CHECK_EQ(len, LEN);
    CHECK_MEM(got, data, LEN);
    list = images_list(r.host.images);
    CHECK_EQ(json_integer_value(json_object_get(json_array_get(list, 0), "size")), LEN);
    json_decref(list);
    rig_close(&r);
}
