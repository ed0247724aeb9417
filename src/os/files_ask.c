/*
 * os/files_ask.c: what a client asks for, which the command line has, too.
 */
#include "os/files.h"

/* clang-format off */
const struct field os_files_fields[] = {
    FIELD_BOOL(os_files_ask, push, "files come to the container; else they are taken from it"),
    FIELD_STRS(os_files_ask, paths, OS_FILES_PATHS, "in the container"),
    FIELD_BOOL(os_files_ask, recursive, "folders, too"),
    FIELD_BOOL(os_files_ask, into, "the path is a folder's"),
    FIELD_BOOL(os_files_ask, create, "folders that are missing are made"),
    FIELD_SINT(os_files_ask, uid, "owner in the container", .dflt = (u64)-1, .min = (u64)-1, .max = UINT32_MAX - 1),
    FIELD_SINT(os_files_ask, gid, "group in the container", .dflt = (u64)-1, .min = (u64)-1, .max = UINT32_MAX - 1),
    FIELD_SINT(os_files_ask, mode, "of files", .dflt = (u64)-1, .min = (u64)-1, .max = 07777),
    {},
};
/* clang-format on */
