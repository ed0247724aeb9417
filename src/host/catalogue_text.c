/*
 * host/catalogue_text.c: what a catalogue is: its JSON, its key and its signature.
 */
#include "host/catalogue.h"
#include "layer/digest.h"
#include "layer/url.h"
#include "vm/spec.h"

#include <sodium.h>
#include <stdlib.h>

static bool version_ok(const char *s)
{
    return strlen(s) <= 63;
}

static bool part_ok(const char *s)
{
    static const char *const parts[] = { "kernel", "disk", "iso", "rootfs" };

    for_each_row(p, parts)
        if (strcmp(*p, s) == 0)
            return true;
    return false;
}

static bool description_ok(const char *s)
{
    if (strlen(s) > CATALOGUE_DESCRIPTION_MAX)
        return false;
    for (; *s; s++)
        if ((u8)*s < ' ' || *s == 0x7f)
            return false;
    return true;
}

#define NAME_WANT "1 to 63 letters, digits, '.', '-' or '_', a letter or digit first,"

/* clang-format off */
const struct field catalogue_image_fields[] = {
    FIELD_STR(catalogue_image, name, "by which it is asked for", .required = true, .ok = spec_name_ok, .want = NAME_WANT),
    FIELD_STR(catalogue_image, version, "of what is in it", .ok = version_ok, .want = "at most 63 bytes"),
    FIELD_STR(catalogue_image, part, "what the file is: kernel, disk, iso or rootfs", .required = true, .ok = part_ok, .want = "kernel, disk, iso or rootfs"),
    FIELD_STR(catalogue_image, url, "where it is", .required = true, .ok = url_ok, .want = "https://HOST/… or http://HOST/…"),
    FIELD_STR(catalogue_image, sha256, "of the file, in hex", .required = true, .ok = digest_hex_ok, .want = "64 digits 0-9a-f"),
    FIELD_INT(catalogue_image, size, "its bytes", .max = URL_BYTES_MAX),
    FIELD_STR(catalogue_image, description, "for people", .ok = description_ok, .want = "one line of at most 500 bytes"),
    FIELD_STR(catalogue_image, append, "of a kernel: command line of instances that have none"),
    {},
};
const struct field catalogue_fields[] = {
    FIELD_INT(catalogue, version, "higher with each that is published", .required = true, .min = 1, .max = INT64_MAX),
    FIELD_STR(catalogue, description, "for people", .ok = description_ok, .want = "one line of at most 500 bytes"),
    FIELD_LIST(catalogue, images, catalogue_image_fields, catalogue_image, CATALOGUE_IMAGES_MAX, "what it offers", .required = true),
    {},
};
const struct field catalogue_rec_fields[] = {
    FIELD_STR(catalogue_rec, url, "where it is fetched from, with .sig its signature"),
    FIELD_STR(catalogue_rec, key, "of its signatures: ed25519, base64", .required = true),
    FIELD_INT(catalogue_rec, version, "of the last"),
    FIELD_INT(catalogue_rec, fetched, "when that came, in seconds since 1970"),
    {},
};
/* clang-format on */

/* Base64 of so many bytes, perhaps with a line feed after it. */
static bool decode(const char *text, u8 *ret, size_t want)
{
    const size_t len = strcspn(text, "\r\n");
    size_t got = 0;

    return strspn(text + len, "\r\n") == strlen(text + len) &&
           sodium_base642bin(ret, want, text, len, NULL, &got, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           got == want;
}

bool catalogue_key_ok(const char *text)
{
    u8 key[crypto_sign_PUBLICKEYBYTES];

    return decode(text, key, sizeof(key));
}

int catalogue_verify(const char *key, const char *signature, const void *p, size_t len,
                     struct err *e)
{
    u8 k[crypto_sign_PUBLICKEYBYTES], s[crypto_sign_BYTES];

    if (!decode(key, k, sizeof(k)))
        return err_set(e, -EINVAL, "the key is no base64 of %zu bytes", sizeof(k));
    if (!decode(signature, s, sizeof(s)))
        return err_set(e, -EBADMSG, "the signature is no base64 of %zu bytes", sizeof(s));
    return crypto_sign_verify_detached(s, p, len, k) == 0
               ? 0
               : err_set(e, -EBADMSG, "the signature is not of this key, or not of this catalogue");
}

int catalogue_parse(const char *text, size_t len, struct catalogue *ret, struct err *e)
{
    const struct catalogue_image *i;
    int r = conf_parse_text(catalogue_fields, ret, text, len, e);

    if (r < 0)
        return err_wrap(e, "catalogue");
    i = ret->images.items;
    for (u32 a = 0; a < ret->images.n; a++)
        for (u32 b = 0; b < a; b++)
            if (strcmp(i[a].name, i[b].name) == 0)
                return err_set(e, -EBADMSG, "catalogue: image '%s' is there twice", i[a].name);
    return 0;
}
