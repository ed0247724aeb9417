/*
 * layer/manifest.h: the JSON of an image: index, manifest and configuration of the OCI image specification, and the manifest.json
 * of `docker save`.  Members have the specification's names; what the tables do not list is passed over, as it wants.
 */
#pragma once

#include "conf/conf.h"

enum {
    MANIFEST_JSON_MAX = 4 * 1024 * 1024, /* bytes of one text */
    MANIFEST_LAYERS_MAX = 127,           /* of one image; more are stacked by no engine */
    MANIFEST_INDEX_MAX = 1024,           /* manifests of one index */
    MANIFEST_NESTING_MAX = 4,            /* an index in an index */
    MANIFEST_WORDS_MAX = 4096,           /* of one list, labels too */
};

#define MANIFEST_REF_NAME "org.opencontainers.image.ref.name"

struct manifest_platform {
    char *architecture, *os, *variant;
};

struct manifest_desc {
    char *mediaType, *digest;
    u64 size;
    struct field_strs annotations;
    struct manifest_platform platform;
};

struct manifest_index {
    struct field_list manifests; /* struct manifest_desc */
};

struct manifest {
    char *mediaType;
    struct manifest_desc config;
    struct field_list layers; /* struct manifest_desc, bottom first */
};

/* What a container of the image shall be. */
struct manifest_run {
    struct field_strs Entrypoint, Cmd, Env, ExposedPorts, Volumes, Labels;
    char *WorkingDir, *User, *StopSignal;
};

struct manifest_rootfs {
    struct field_strs diff_ids; /* bottom first */
};

struct manifest_config {
    char *architecture, *os, *created;
    struct manifest_run config;
    struct manifest_rootfs rootfs;
};

/* An element of the list in `docker save`'s manifest.json. */
struct manifest_saved {
    char *Config;
    struct field_strs RepoTags, Layers;
};
struct manifest_saved_list {
    struct field_list images;
};

extern const struct field manifest_index_fields[], manifest_fields[], manifest_run_fields[],
    manifest_config_fields[], manifest_saved_list_fields[];

/* Each: from text, checked.  `ret` is zeroed on failure; conf_fini with its table frees it. */
int manifest_index_parse(const char *text, size_t len, struct manifest_index *ret, struct err *e);
int manifest_parse(const char *text, size_t len, struct manifest *ret, struct err *e);
int manifest_config_parse(const char *text, size_t len, struct manifest_config *ret, struct err *e);
int manifest_saved_parse(const char *text, size_t len, struct manifest_saved_list *ret,
                         struct err *e);

/* Is the text an index, or a manifest? */
bool manifest_is_index(const char *text, size_t len);
/* The value of an annotation; NULL. */
const char *manifest_annotation(const struct manifest_desc *d, const char *name);

/*
 * Which of an index's manifests: that of name `tag` (NULL: any) for this machine's kind, linux/amd64.  -ENOENT or, when there are
 * several names to choose from, -EINVAL with `e` that lists them.
 */
int manifest_pick(const struct manifest_index *index, const char *tag,
                  const struct manifest_desc **ret, struct err *e);
