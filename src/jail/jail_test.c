/*
 * jail/jail_test.c: enters the jail in children.
 */
#include "jail/jail.h"

#include "testlib/test.h"
TEST(names)
{
    CHECK_STR(jail_role_name(JAIL_VCPU), "vcpu");
}
