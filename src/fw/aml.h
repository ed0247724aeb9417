/*
 * fw/aml.h: a writer of ACPI machine language: names, values, nested packages, resource templates.
 * Writes go into a buffer of the caller; one that does not fit, or nests too deep, sets `bad` and the rest is dropped, so a
 * builder checks once at its end.
 */
#pragma once

#include "base/base.h"

enum { AML_DEPTH_MAX = 8 };

struct aml {
    u8 *buf;
    size_t len, room;
    bool bad;
    unsigned depth;
    struct {
        size_t at;   /* where the length has to be inserted */
        bool is_res; /* a resource template: the buffer's size follows the length */
    } open[AML_DEPTH_MAX];
};

void aml_init(struct aml *a, void *buf, size_t room);

/* Terms without an inside.  Paths are written "_SB.PCI0" or "\\_S5"; segments shorter than 4 are padded. */
void aml_byte(struct aml *a, u8 v);
void aml_path(struct aml *a, const char *path);
void aml_int(struct aml *a, u64 v); /* shortest encoding */
void aml_string(struct aml *a, const char *s);
void aml_eisaid(struct aml *a, const char *id); /* "PNP0A08" as the number it is packed into */
void aml_name(struct aml *a, const char *name); /* Name (name, …the next term) */
void aml_name_int(struct aml *a, const char *name, u64 v);
void aml_region_io(struct aml *a, const char *name, u16 port, u8 len);
void aml_notify(struct aml *a, const char *path, u8 v);

/* What has an inside: each is ended by aml_close. */
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *name);
void aml_method(struct aml *a, const char *name, u8 n_args, bool serialized);
void aml_package(struct aml *a, u8 n);
void aml_field_dword(struct aml *a, const char *region,
                     const char *field);                /* one field of 32 bits; closes itself */
void aml_if_local0_and(struct aml *a, u32 mask);        /* If (Local0 & mask) */
void aml_store_local0(struct aml *a, const char *from); /* Local0 = from; no inside */
void aml_res(struct aml *a);                            /* ResourceTemplate */
void aml_close(struct aml *a);

/* Descriptors, inside aml_res.  (ACPI 6.4, 6.4) */
void aml_res_io(struct aml *a, u16 port, u8 len);
void aml_res_irq(struct aml *a, u32 gsi); /* edge, active high, exclusive */
void aml_res_mem32(struct aml *a, u32 base, u32 len);
void aml_res_bus(struct aml *a, u16 first, u16 last);
/* Windows that a bridge passes on. */
void aml_res_window_io(struct aml *a, u16 base, u64 len);
void aml_res_window_mem32(struct aml *a, u32 base, u64 len);
void aml_res_window_mem64(struct aml *a, u64 base, u64 len);
