/*
 * host/images_cfg.c: the fields of images, which the command line has, too: nothing here needs what images are made with.
 */
#include "host/guess.h"
#include "host/images.h"
#include "layer/digest.h"
#include "layer/url.h"

static bool part_ok(const char *part)
{
    struct image_source s;

    return strcmp(part, "initrd") != 0 && guess_member(&s, part);
}

const char *const image_kinds[] = { "machine", "container", "disk", "iso", NULL };

/* clang-format off */
const struct field image_program_fields[] = {
    FIELD_STRS(image_program, command, IMAGE_WORDS_MAX, "the program and its arguments"),
    FIELD_STRS(image_program, env, IMAGE_WORDS_MAX, "NAME=VALUE"),
    FIELD_STR(image_program, cwd, "where it begins"),
    FIELD_STR(image_program, user, "who it is"),
    FIELD_STR(image_program, stop_signal, "what asks it to end"),
    {},
};
static const struct field image_file_fields[] = {
    FIELD_STR(image_file, name, "which of its files", .required = true),
    FIELD_STR(image_file, sha256, "of it, in hex"),
    FIELD_INT(image_file, size, "its bytes"),
    {},
};
const struct field image_cfg_fields[] = {
    FIELD_ENUM(image_cfg, kind, image_kinds, "what it is"),
    FIELD_STR(image_cfg, append, "kernel command line of instances that have none"),
    FIELD_BOOL(image_cfg, initrd, "it has an initial RAM disk"),
    FIELD_BOOL(image_cfg, disk, "it has a disk"),
    FIELD_INT(image_cfg, created, "when it was made, in seconds since 1970"),
    FIELD_STR(image_cfg, origin, "where it came from"),
    FIELD_STRS(image_cfg, layers, IMAGE_LAYERS_MAX, "of containers: what its root file system is made of, the lowest first"),
    FIELD_INT(image_cfg, bytes, "of containers: how much these have"),
    FIELD_OBJ(image_cfg, program, image_program_fields, "of containers: what is run"),
    FIELD_LIST(image_cfg, files, image_file_fields, image_file, IMAGE_FILES_MAX, "its files that can be had"),
    {},
};
const struct field image_source_fields[] = {
    FIELD_STR(image_source, kernel, "its kernel", .metavar = "FILE"),
    FIELD_STR(image_source, initrd, "its initial RAM disk", .metavar = "FILE"),
    FIELD_STR(image_source, disk, "its disk, in any format that is read", .metavar = "FILE"),
    FIELD_STR(image_source, append, "kernel command line of instances that have none"),
    FIELD_STR(image_source, rootfs, "in place of a kernel: an OCI image (a layout, an archive of one, or HOST/NAME:TAG of a registry), what `docker save` writes, or a root file system (a tar or a folder)",
              .metavar = "PATH"),
    FIELD_STR(image_source, tag, "which image, when there are several in --rootfs"),
    FIELD_STR(image_source, iso, "in place of a kernel: an ISO, which instances get as a read-only disk", .metavar = "FILE"),
    FIELD_STR(image_source, url, "in place of all of these: a file that is fetched", .ok = url_ok, .want = "https://HOST/… (http:// with its SHA-256)"),
    FIELD_STR(image_source, from, "or an image of a catalogue", .metavar = "CATALOGUE:IMAGE"),
    FIELD_STR(image_source, sha256, "of what is fetched, in hex", .ok = digest_hex_ok, .want = "64 digits 0-9a-f", .metavar = "HEX"),
    FIELD_STR(image_source, part, "what is fetched: kernel, disk, iso or rootfs; else its first bytes say it", .ok = part_ok, .want = "kernel, disk, iso or rootfs"),
    {},
};
/* clang-format on */
