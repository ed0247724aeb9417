/*
 * host/cloud.h: what cloud-init in a guest is told (NoCloud): fields of an instance, and the three texts that they become.
 */
#pragma once

#include "conf/conf.h"

enum {
    CLOUD_KEYS_MAX = 32,
    CLOUD_KEY_MAX = 8 * 1024,   /* bytes of a key: RSA of 16384 bits has 2.8 KiB */
    CLOUD_TEXT_MAX = 48 * 1024, /* of user data, and of a network description */
    CLOUD_HOSTNAME_MAX = 253,
};

struct cloud_key {
    char *key; /* a line of authorized_keys */
};

struct cloud_cfg {
    bool enable;            /* also when nothing else is said */
    char *user_data;        /* NULL: none */
    struct field_list keys; /* struct cloud_key */
    char *hostname;         /* NULL: as the instance is called */
    char *network;          /* NULL: DHCP on each card */
};
extern const struct field cloud_fields[];

/* Is there a seed? */
bool cloud_is_used(const struct cloud_cfg *c);

/* Who it is for. */
struct cloud_who {
    const char *name, *uuid;
    const struct field_list *nets; /* struct vm_net, with their addresses */
};
/* Files of the seed; owned. */
struct cloud_texts {
    char *user_data, *meta_data, *network;
    u64 sum; /* of what they say: another one is another instance for cloud-init, which then does its work again */
};
void cloud_texts(const struct cloud_cfg *c, const struct cloud_who *who, struct cloud_texts *ret);
void cloud_texts_fini(struct cloud_texts *t);
