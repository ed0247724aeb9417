/*
 * host/nic.h: the cards of instances: their addresses, and the taps that join them to networks.
 */
#pragma once

#include "host/host.h"

/* What an instance's cards lack (MAC, address) is chosen, what they have is checked against all others.  `self`: whose they are,
 * NULL: of a new one. */
int nics_settle_locked(struct host *h, const struct instance *self, struct instance_cfg *c,
                       struct err *e);
/* The cards' places on networks, just before its process starts: taps are made, and stand in `spec`. */
int nics_plug(struct instance *i, struct vm_spec *spec, struct err *e);
/* The same for an instance of kind os: pairs of links are made, and their inner ends, addresses and name server stand in `spec`. */
int nics_plug_os(struct instance *i, struct os_spec *spec, struct err *e);
/* Is one of an instance's on a network? */
bool nics_on_network(const struct instance_cfg *c);
/* Is one on that network? */
const struct instance *nics_user_locked(const struct host *h, const char *network);

/* "s", four digits of the folder, the instance's number, "n" and the card's: two folders' machines do not meet. */
void nic_tap_name(const struct instance *i, u32 card, char ret[IFNAMSIZ]);
/* Could it be the tap of a machine of this folder? */
bool nic_is_tap(const struct host *h, const char *name);
