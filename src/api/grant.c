/*
 * api/grant.c: roles and grants as they are written: by clients, in records, on the command line.
 */
#include "api/access.h"
#include "api/api.h"

const char *const access_roles[] = { "none", "viewer", "operator", "admin", NULL };

/* clang-format off */
const struct field access_grant_fields[] = {
    FIELD_STR(access_grant, instance, "an instance"),
    FIELD_STR(access_grant, tag, "or all that have this tag"),
    FIELD_ENUM(access_grant, role, access_roles, "viewer or operator", .dflt = ACCESS_VIEWER),
    {},
};
/* clang-format on */

u32 access_role_rights(int role)
{
    static const u32 rights[] = { 0, API_VIEW, API_VIEW | API_OPERATE, API_ALL };

    return rights[role];
}
