/*
 * fw/dsdt.h: the devices that ACPI describes in code.
 */
#pragma once

#include "fw/acpi.h"
#include "fw/aml.h"

/* Appends the terms of the DSDT, without the table's header. */
void dsdt_write(struct aml *a, const struct acpi_cfg *cfg);
