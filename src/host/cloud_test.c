/*
 * host/cloud_test.c: what cloud-init may be told, and the disk that tells it.
 */
#include "host/cloud.h"

#include "host/seed.h"
#include "testlib/test.h"
#include "vm/spec.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(cloud_bodies)
{
    static const struct {
        const char *why, *text;
        int want;
        const char *field;
    } rows[] = {
        { "nothing", "{}", 0, "" },
        { "all",
          "{\"user_data\": \"#cloud-config\\n{}\", \"hostname\": \"a.b-c\", \"network\": "
          "\"version: 2\", \"keys\": "
          "[{\"key\": \"ssh-ed25519 AAAA me@home\"}]}",
          0, "" },
        { "a script", "{\"user_data\": \"#!/bin/sh\\n\"}", 0, "" },
        { "YAML without its head", "{\"user_data\": \"packages: [x]\"}", -EINVAL, "user_data" },
        { "no text", "{\"user_data\": 1}", -EINVAL, "user_data" },
        { "comments before the network", "{\"network\": \"# x\\n---\\nnetwork:\\n\"}", 0, "" },
        { "only comments", "{\"network\": \"# x\"}", -EINVAL, "network" },
        { "another network", "{\"network\": \"auto eth0\"}", -EINVAL, "network" },
        { "a host name that ends with -", "{\"hostname\": \"a-\"}", -EINVAL, "hostname" },
        { "an empty label", "{\"hostname\": \"a..b\"}", -EINVAL, "hostname" },
        { "a line more", "{\"hostname\": \"a\\nb\"}", -EINVAL, "hostname" },
        { "a key with a command", "{\"keys\": [{\"key\": \"command=\\\"x\\\" ssh-rsa AAAA\"}]}",
          -EINVAL, "keys" },
        { "two keys in one", "{\"keys\": [{\"key\": \"ssh-rsa AAAA\\nssh-rsa BBBB\"}]}", -EINVAL,
          "keys" },
        { "no data", "{\"keys\": [{\"key\": \"ssh-rsa \"}]}", -EINVAL, "keys" },
        { "a private key", "{\"keys\": [{\"key\": \"-----BEGIN OPENSSH PRIVATE KEY-----\"}]}",
          -EINVAL, "keys" },
        { "unknown", "{\"x\": 1}", -EINVAL, "x" },
    };

    for_each_row(row, rows) {
        struct cloud_cfg c = {};
        struct err e = {};

        ROW(row);
        CHECK_EQ(conf_parse_text(cloud_fields, &c, row->text, strlen(row->text), &e), row->want);
        CHECK_STR(e.field, row->field);
        conf_fini(cloud_fields, &c);
    }
}

TEST(cloud_sizes)
{
    AUTO(free) char *text = xnew_n(char, CLOUD_TEXT_MAX + 2);
    const struct field *f = conf_field_at(cloud_fields, offsetof(struct cloud_cfg, user_data));
    struct cloud_cfg c = {};
    struct err e = {};

    memset(text, 'x', CLOUD_TEXT_MAX);
    memcpy(text, "#!", 2);
    CHECK_OK(conf_set(f, &c, text, &e), &e);
    text[CLOUD_TEXT_MAX] = 'x';
    CHECK_EQ(conf_set(f, &c, text, &e), -EINVAL);
    conf_fini(cloud_fields, &c);
}

struct told {
    struct cloud_cfg c;
    struct field_list nets;
    struct vm_net net;
    struct cloud_texts t;
};

static void tell(struct told *x, const char *text, const char *name)
{
    const struct cloud_who who = { name, "01234567-89ab-cdef-0123-456789abcdef", &x->nets };
    struct err e = {};

    *x = (struct told){ .net.mac = (char[]){ "52:54:00:00:00:01" } };
    x->nets = (struct field_list){ &x->net, 1 };
    CHECK_OK(conf_parse_text(cloud_fields, &x->c, text, strlen(text), &e), &e);
    cloud_texts(&x->c, &who, &x->t);
}

static void told_fini(struct told *x)
{
    conf_fini(cloud_fields, &x->c);
    cloud_texts_fini(&x->t);
}

TEST(cloud_says)
{
    struct told a, b, c;

    tell(&a, "{\"keys\": [{\"key\": \"ssh-rsa AAAA \\\"me\\\"\"}]}", "web_1");
    CHECK_HAS(a.t.meta_data, "\"local-hostname\":\"web-1\"");
    CHECK_HAS(a.t.meta_data, "\"public-keys\":[\"ssh-rsa AAAA \\\"me\\\"\"]");
    CHECK_HAS(a.t.meta_data, "\"instance-id\":\"01234567-89ab-cdef-0123-456789abcdef-");
    CHECK_HAS(a.t.network, "\"macaddress\":\"52:54:00:00:00:01\"");
    CHECK_STR(a.t.user_data, "#cloud-config\n{}\n");
    tell(&b, "{\"keys\": [{\"key\": \"ssh-rsa AAAA \\\"me\\\"\"}], \"enable\": true}", "web_1");
    CHECK_STR(a.t.meta_data, b.t.meta_data); /* it says the same: cloud-init does nothing again */
    tell(&c, "{\"user_data\": \"#!/bin/sh\\n\"}", "web_1");
    CHECK(c.t.sum != a.t.sum);
    CHECK_STR(c.t.user_data, "#!/bin/sh\n");
    told_fini(&a);
    told_fini(&b);
    told_fini(&c);
}

static void check_file(struct archive *a, struct archive_entry *entry, const struct cloud_texts *t)
{
    const char *name = archive_entry_pathname(entry);
    const char *want = strcmp(name, "user-data") == 0        ? t->user_data
                       : strcmp(name, "meta-data") == 0      ? t->meta_data
                       : strcmp(name, "network-config") == 0 ? t->network
                                                             : NULL;
    char text[4096] = "";

    CHECK(want);
    CHECK_EQ(archive_read_data(a, text, sizeof(text) - 1), strlen(want));
    CHECK_STR(text, want);
}

TEST(cloud_seed)
{
    AUTO(free) char *path = NULL, *other = NULL;
    AUTO(fd) int fd = -1;
    struct archive_entry *entry;
    struct archive *a = archive_read_new();
    struct stat before, after;
    struct err e = {};
    struct told x, y;
    u32 files = 0;
    char label[33] = "";

    tell(&x, "{\"user_data\": \"#cloud-config\\npackages: [x]\\n\"}", "a");
    tell(&y, "{\"enable\": true}", "a");
    path = seed_path(test_dir(), &x.t);
    other = seed_path(test_dir(), &y.t);
    CHECK_OK(seed_make(path, &x.t, &e), &e);
    CHECK_OK(seed_make(other, &y.t, &e), &e);
    CHECK_EQ(stat(path, &before), 0);
    CHECK_OK(seed_make(path, &x.t, &e), &e);
    CHECK_EQ(stat(path, &after), 0);
    CHECK_EQ(before.st_ino, after.st_ino); /* it is there */
    CHECK_EQ(before.st_size % 2048, 0);

    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(pread(fd, label, 32, 16 * 2048 + 40), 32);
    CHECK_STR(label, "cidata                          ");
    archive_read_support_format_iso9660(a);
    CHECK_EQ(archive_read_open_filename(a, path, 4096), ARCHIVE_OK);
    while (archive_read_next_header(a, &entry) == ARCHIVE_OK)
        if (archive_entry_filetype(entry) == AE_IFREG) {
            check_file(a, entry, &x.t);
            files++;
        }
    CHECK_EQ(files, 3);
    archive_read_free(a);
    seed_clean(test_dir(), path);
    CHECK_EQ(access(path, F_OK), 0);
    CHECK(access(other, F_OK) < 0);
    told_fini(&x);
    told_fini(&y);
}
