/*
 * vm/shed.h: gives back the memory that only the start of a machine needed.
 */
#pragma once

/* To be called when all is made; not at once, for a guest that begins needs the host's time more. */
void shed_startup(void);
