/*
 * host/catalogue_test.c: catalogues: what is refused of one, signatures, and that none is replaced by an older one.
 */
#include "host/catalogue.h"

#include "host/host_rig.h"
#include "testlib/test.h"

#include <sodium.h>

#define SUM "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
#define IMAGE(name, part, url)                                                                  \
    "{\"name\": \"" name "\", \"part\": \"" part "\", \"url\": \"" url "\", \"sha256\": \"" SUM \
    "\"}"

TEST(catalogue_texts)
{
    static const struct {
        const char *why, *text, *says; /* says NULL: it is one */
    } rows[] = {
        { "one", "{\"version\": 1, \"images\": [" IMAGE("a", "iso", "https://x/a") "]}", NULL },
        { "none", "{\"version\": 1, \"images\": []}", NULL },
        { "no version", "{\"images\": []}", "'version'" },
        { "version 0", "{\"version\": 0, \"images\": []}", "'version'" },
        { "a member that is not known", "{\"version\": 1, \"images\": [], \"x\": 1}", "'x'" },
        { "a name that is a path",
          "{\"version\": 1, \"images\": [" IMAGE("../a", "iso", "https://x/a") "]}", "name" },
        { "a file of the host",
          "{\"version\": 1, \"images\": [" IMAGE("a", "iso", "file:///a") "]}", "url" },
        { "another part", "{\"version\": 1, \"images\": [" IMAGE("a", "initrd", "https://x/a") "]}",
          "part" },
        { "no sum",
          "{\"version\": 1, \"images\": [{\"name\": \"a\", \"part\": \"iso\", \"url\": "
          "\"https://x/\"}]}",
          "sha256" },
        { "twice",
          "{\"version\": 1, \"images\": [" IMAGE("a", "iso", "https://x/a") "," IMAGE(
              "a", "iso", "https://x/b") "]}",
          "twice" },
        { "no JSON", "{", "catalogue" },
    };

    for_each_row(row, rows) {
        struct catalogue c = {};
        struct err e = {};

        ROW(row);
        CHECK_EQ(catalogue_parse(row->text, strlen(row->text), &c, &e) >= 0, !row->says);
        if (row->says)
            CHECK_HAS(e.text, row->says);
        conf_fini(catalogue_fields, &c);
    }
}

TEST(catalogue_signatures)
{
    static const char key[] = "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU="; /* another's */
    const u8 message[] = { 0xaf, 0x82 };
    u8 pk[32], sk[64], sig[64];
    char pk_text[64], sig_text[120], line[122];
    struct err e = {};

    crypto_sign_keypair(pk, sk);
    crypto_sign_detached(sig, NULL, message, sizeof(message), sk);
    sodium_bin2base64(pk_text, sizeof(pk_text), pk, sizeof(pk), sodium_base64_VARIANT_ORIGINAL);
    sodium_bin2base64(sig_text, sizeof(sig_text), sig, sizeof(sig), sodium_base64_VARIANT_ORIGINAL);
    CHECK(catalogue_key_ok(pk_text) && catalogue_key_ok(key) && !catalogue_key_ok("AAAA"));
    CHECK_OK(catalogue_verify(pk_text, sig_text, message, 2, &e), &e);
    CHECK_EQ(catalogue_verify(key, sig_text, message, 2, &e), -EBADMSG);
    CHECK_EQ(catalogue_verify(pk_text, sig_text, message, 1, &e), -EBADMSG);
    CHECK_EQ(catalogue_verify(pk_text, "AAAA", message, 2, &e), -EBADMSG);
    CHECK_EQ(catalogue_verify(pk_text, "no base64!", message, 2, &e), -EBADMSG);
    CHECK_EQ(catalogue_verify("AAAA", sig_text, message, 2, &e), -EINVAL);
    str_fmt(line, sizeof(line), "%s\n", sig_text);
    CHECK_OK(catalogue_verify(pk_text, line, message, 2, &e), &e);
}

struct signer {
    u8 pk[32], sk[64];
    char key[64];
};

static void signer_init(struct signer *s)
{
    crypto_sign_keypair(s->pk, s->sk);
    sodium_bin2base64(s->key, sizeof(s->key), s->pk, sizeof(s->pk), sodium_base64_VARIANT_ORIGINAL);
}

static int put(struct rig *r, const struct signer *s, const char *key, const char *text,
               struct err *e)
{
    u8 sig[64];
    char sig_text[120];

    crypto_sign_detached(sig, NULL, (const u8 *)text, strlen(text), s->sk);
    sodium_bin2base64(sig_text, sizeof(sig_text), sig, sizeof(sig), sodium_base64_VARIANT_ORIGINAL);
    return catalogue_put(&r->host, "lab", key, text, sig_text, e);
}

TEST(catalogue_versions)
{
    static const char one[] =
        "{\"version\": 1, \"images\": [" IMAGE("a", "iso", "https://x/old") "]}",
                      two[] =
                          "{\"version\": 2, \"images\": [" IMAGE("a", "iso", "https://x/new") "]}";
    struct image_source source = {};
    struct signer own, other;
    struct err e = {};
    struct rig r;
    json_t *j;

    signer_init(&own);
    signer_init(&other);
    rig_open(&r, test_dir(), "catalogue");
    CHECK_EQ(put(&r, &own, NULL, one, &e), -ENOENT);
    CHECK_EQ(put(&r, &other, own.key, one, &e), -EBADMSG);
    j = catalogue_list(&r.host, &e);
    CHECK_EQ(json_array_size(j), 0); /* what was refused leaves nothing */
    json_decref(j);
    CHECK_OK(put(&r, &own, own.key, one, &e), &e);
    CHECK_OK(put(&r, &own, NULL, two, &e), &e);
    test_row("again the same");
    CHECK_OK(put(&r, &own, NULL, two, &e), &e);
    test_row("an older one, well signed");
    CHECK_EQ(put(&r, &own, NULL, one, &e), -ESTALE);
    CHECK_HAS(e.text, "version 1");
    test_row("of another key");
    CHECK_EQ(put(&r, &other, NULL, two, &e), -EBADMSG);
    CHECK_EQ(put(&r, &other, other.key, two, &e), -EEXIST);
    rig_close(&r);
    rig_open(&r, test_dir(), "catalogue");
    host_lock(&r.host);
    CHECK_OK(catalogue_resolve_locked(&r.host, "lab:a", &source, &e), &e);
    CHECK_STR(source.url, "https://x/new");
    CHECK_STR(source.sha256, SUM);
    CHECK_STR(source.part, "iso");
    CHECK_EQ(catalogue_resolve_locked(&r.host, "lab:b", &source, &e), -ENOENT);
    CHECK_EQ(catalogue_resolve_locked(&r.host, "none:a", &source, &e), -ENOENT);
    CHECK_EQ(catalogue_resolve_locked(&r.host, "../lab:a", &source, &e), -ENOENT);
    CHECK_EQ(catalogue_resolve_locked(&r.host, "lab", &source, &e), -EINVAL);
    host_unlock(&r.host);
    conf_fini(image_source_fields, &source);
    test_row("its file was put back to an older one");
    {
        AUTO(free) char *path = str_new("%s/catalogues", r.dir);
        u8 sig[64];
        char text[1024];

        crypto_sign_detached(sig, NULL, (const u8 *)one, strlen(one), own.sk);
        sodium_bin2base64(text, sizeof(text), sig, sizeof(sig), sodium_base64_VARIANT_ORIGINAL);
        str_fmt(text + strlen(text), sizeof(text) - strlen(text), "\n%s", one);
        rig_write(path, "lab", text);
    }
    host_lock(&r.host);
    CHECK_EQ(catalogue_resolve_locked(&r.host, "lab:a", &source, &e), -ESTALE);
    host_unlock(&r.host);
    j = catalogue_list(&r.host, &e);
    CHECK_HAS(json_string_value(json_object_get(json_array_get(j, 0), "why")), "version 2");
    json_decref(j);
    CHECK_OK(catalogue_remove(&r.host, "lab", &e), &e);
    CHECK_EQ(catalogue_remove(&r.host, "lab", &e), -ENOENT);
    CHECK_OK(put(&r, &other, other.key, one, &e), &e);
    rig_close(&r);
}
