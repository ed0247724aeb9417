/*
 * vm/shed.h: gives back the memory that only the start of a machine needed.
 */
#pragma once

/* To be called when all is made, before the guest runs. */
void shed_startup(void);
