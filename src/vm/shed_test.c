/*
 * vm/shed_test.c: what was shed is smaller, and still works.
 */
#include "vm/shed.h"

#include "testlib/test.h"

#include <fcntl.h>
#include <unistd.h>

/* Resident pages of files, of ours and of the libraries.  (proc(5), statm) */
static u64 file_pages(void)
{
    AUTO(fd) int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    char text[128] = "";
    u64 shared = 0;

    CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    char *third = strchr(strchr(text, ' ') + 1, ' ') + 1;
    *strchr(third, ' ') = '\0';
    CHECK_EQ(str_u64(third, &shared), 0);
    return shared;
}

TEST(shed_drops_code_and_keeps_data)
{
    static u8 data = 41;
    u64 before = file_pages();

    data++;
    shed_startup();
    CHECK(file_pages() < before);
    CHECK_EQ(data, 42);
}
